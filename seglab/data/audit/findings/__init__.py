"""What follows from what was seen: one file per kind of finding."""
