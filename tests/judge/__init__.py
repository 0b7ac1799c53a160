"""Judges the running system from outside: reads every topic and table itself, and shares no code with fanout/verify."""
