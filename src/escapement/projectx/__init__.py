"""The venue as a client: wire format, REST, hubs and rate limits."""
