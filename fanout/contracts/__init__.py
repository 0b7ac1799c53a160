"""What `fanout schemas` needs besides schemas/: the base commit, the owners of topics, and the live registry."""
