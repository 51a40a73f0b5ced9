"""What both ends of an association share: PDUs, items, bounds, TLS, commands, and how one is opened."""
