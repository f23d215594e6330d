"""The `metrics.csv` of each run: one reader, and views of what it has read."""
