"""What a run concluded, in one form a module: ``table`` for people, ``json`` for programs."""
