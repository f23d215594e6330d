"""Read the `metrics.csv` of each run, and extract curves, learning rates and quantities of weights."""
