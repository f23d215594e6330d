"""Curves read from the `metrics.csv` of each run."""
