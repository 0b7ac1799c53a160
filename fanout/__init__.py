"""Fanout's operator tool: the local stack, its set-up, and commands that look at a running system."""
