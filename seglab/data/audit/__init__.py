"""Look for mistakes in a whole data set: each pair of an image and its mask is read once, and findings follow from what was seen."""
