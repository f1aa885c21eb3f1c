"""The whole system over history: the objects that trade live, driven by a loop instead of sockets."""
