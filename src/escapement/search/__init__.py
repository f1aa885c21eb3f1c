"""Search over settings: many backtests, what they say of each other, and how much of the best is luck."""
