"""A comparison as a file: JSON, which is complete and can be read back, CSV, LaTeX and Markdown."""
