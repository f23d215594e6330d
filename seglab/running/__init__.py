"""Runs: planning the runs of a study, sharing them among workers, and training one run from its seed to its result."""
