"""``probe record`` and ``probe correlate``: two ends without contact."""
