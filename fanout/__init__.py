"""The operator's tool: starts the local stack, sets up servers, and inspects, breaks and repairs a running system."""

__version__ = "0.1.0"
