"""One statement over several data sets: the same arms and baseline, in one study for each data set."""
