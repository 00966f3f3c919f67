"""The commands of the command line. Their messages name options, not Python arguments."""
