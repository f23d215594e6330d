"""Sources: descriptions of data sets."""
