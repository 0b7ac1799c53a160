"""Reconciles every published event with every consumer, using only what the services' databases say."""
