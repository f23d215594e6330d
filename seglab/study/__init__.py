"""Studies: arms × seeds on one data set, planned, run and read. Import from the modules, or from `seglab` itself."""
