"""The command line of an experiment script."""
