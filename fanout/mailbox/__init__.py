"""What arrived at the local mail server: read from its folder, whether it runs or not."""
