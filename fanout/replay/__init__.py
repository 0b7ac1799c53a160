"""`fanout replay`: reads a service's history again; rebuilds a read model, and does no harm to any other service."""
