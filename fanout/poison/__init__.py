"""One message that nobody can read, from a producer with a bug: what dead letters are for, to try them on."""
