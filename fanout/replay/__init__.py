"""`fanout replay`: rebuilds a read model from history, and lets any other service read it again without effect."""
