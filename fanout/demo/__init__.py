"""The whole story in a minute: orders flow, a consumer dies and comes back, and the ledger says what became of it."""
