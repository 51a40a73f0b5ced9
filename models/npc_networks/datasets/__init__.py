"""Public data sets of the field as nnU-Net v2 raw data sets, and training on them with the real nnunetv2."""
