"""How long a network takes and how much memory, by engine and precision."""
