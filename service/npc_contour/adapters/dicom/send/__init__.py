"""Objects on their way out, and whether they arrived."""
