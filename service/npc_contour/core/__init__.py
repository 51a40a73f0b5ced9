"""Pure algorithms: arrays and types in, arrays and types out."""
