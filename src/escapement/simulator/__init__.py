"""A ProjectX gateway in a box: REST and SignalR on localhost, for tests, demonstrations and rehearsal."""
