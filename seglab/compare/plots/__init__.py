"""Plots of a comparison, one file for each.

A plot of one axes takes an `ax`, draws on it and returns it; without an `ax` it makes a figure of a suitable size. Beside it stands
`picture`, which draws the same plot for the report with its title and caption.
"""
