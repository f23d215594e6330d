"""Sources: what a data set is."""
