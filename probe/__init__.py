"""The operator's end: plans the checks, conducts both endpoints, and says what it means."""
