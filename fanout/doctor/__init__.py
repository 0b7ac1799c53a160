"""Examines the machine, the servers and what has come of the events: one file for each kind of check."""
