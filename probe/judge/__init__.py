"""What the correlator judges by: what was seen, what it may mean, and the words for it."""
