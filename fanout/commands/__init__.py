"""The commands of `fanout`, one file each."""
