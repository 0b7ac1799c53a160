"""Customers: they order over REST at a steady rate, ask again when no answer comes, and pay their invoices."""
