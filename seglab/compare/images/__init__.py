"""Findings per image from each `confusion.npz`: how sure a difference is for new images, and where the arms differ."""
