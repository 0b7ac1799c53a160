"""`fanout scale`: more or fewer workers of one service, and which of them reads what."""
