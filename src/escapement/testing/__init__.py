"""Builders and Hypothesis strategies for people who extend Escapement."""
