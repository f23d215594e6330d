"""`seglab check LOSS`: tries a loss before a comparison rests on it."""
