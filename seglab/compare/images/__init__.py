"""Findings from single images, read from each run's `confusion.npz`: how sure a difference is for new images, and where the arms differ."""
