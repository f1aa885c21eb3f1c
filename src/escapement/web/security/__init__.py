"""Who may use the dashboard: passwords, log-ins, and what every request has to pass."""
