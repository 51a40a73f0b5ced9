"""What runs inside Triton: from HU volumes to a label map, without torch."""
