"""The dashboard: what is stored as a JSON API and as pages, and the few things that can be steered from there."""
