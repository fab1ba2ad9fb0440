"""Who may use the agent: its door, the keys that it takes, and pairing."""
