"""How much of everything a site needs, from a simulation of its week."""
