"""The original framework and this product on the same case: what differs, and by how much."""
