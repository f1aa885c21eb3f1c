"""Escapement: a mechanical trading system for futures."""

__version__ = "0.1.0"
