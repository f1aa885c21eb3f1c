"""Trades to bars."""
