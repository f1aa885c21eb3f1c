"""What is served over HTTP: the dashboard as a JSON API and as pages, what can be steered there, health and metrics."""
