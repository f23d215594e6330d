"""Derive findings from the survey of a data set: one file for each kind of finding."""
