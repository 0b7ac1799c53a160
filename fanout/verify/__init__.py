"""The ledger: what became of every published event, read from the databases and from nothing else."""
