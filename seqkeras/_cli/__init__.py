"""The commands of the command line, which speak of its options."""
