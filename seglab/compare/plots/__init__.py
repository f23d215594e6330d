"""Plots of a comparison, one file for each.

A plot of one axes takes an `ax`, draws on it and returns it; without an `ax` it makes a figure of a suitable size. In
the same file, `picture` draws the plot for the report, with title and caption. `plot_schedules` and `plot_weights` have
several panels and return a figure; `plot_schedule` and `plot_stage` draw one of their panels on an `ax`.
"""
