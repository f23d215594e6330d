"""What the images of a split say, from each run's `confusion.npz`: how sure a difference is for new images, and where the arms differ."""
