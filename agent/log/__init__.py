"""What the agent is seen to do: its log, its counts, and its answer to ``--status``."""
