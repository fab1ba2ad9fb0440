"""``probe watch``: what changes from run to run."""
