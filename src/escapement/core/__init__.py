"""The pure machines: facts in, facts out; no I/O, no clock, no randomness, no logging."""
