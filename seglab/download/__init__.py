"""Download published data sets. No torch."""
