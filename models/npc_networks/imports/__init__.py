"""From a trained network of another framework to a model folder of this product; nothing in its files is executed."""
