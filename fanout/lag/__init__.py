"""How far behind everyone is, in messages and in seconds, seen from outside: it answers when workers are dead."""
