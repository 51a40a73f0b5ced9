"""What nnU-Net's own process loads: files that need nothing of this product but each other."""
