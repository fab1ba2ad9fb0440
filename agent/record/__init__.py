"""One end's half of a run in which the two ends have no contact."""
