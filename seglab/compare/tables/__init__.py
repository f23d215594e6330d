"""Tables of a comparison, for the terminal, Markdown and HTML."""
