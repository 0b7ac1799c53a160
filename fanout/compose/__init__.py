"""The same system in containers: who may do what there, how it is made, and how the operator reaches it."""
