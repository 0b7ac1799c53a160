"""The operator's tool: starts the local stack, sets up servers, and inspects, breaks and repairs a running system."""
