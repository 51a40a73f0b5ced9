"""Structure sets and what goes with them: written, checked, read."""
