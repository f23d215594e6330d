"""Statistics of a comparison, as functions of arrays."""
