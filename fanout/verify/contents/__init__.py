"""Compares what services have stored with what the published events say, by the checks in services/*/checks.sql.

docs/ledger.md describes the tables of events that a check finds in its database, and why none of it accuses wrongly.
"""
