"""Faults that end by themselves, whatever becomes of the tool: one by name, or many on a seeded schedule under load."""
