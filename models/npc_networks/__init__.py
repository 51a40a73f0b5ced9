"""The networks behind the contours: architecture, training, export, and what runs inside Triton."""
