"""Runs: which there are, who works on which, and how one is trained from its seed to its result."""
