"""Look for mistakes in a whole data set: each image and mask is read once, and findings follow from what was seen."""
