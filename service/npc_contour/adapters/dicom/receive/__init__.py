"""The receiver: who may come in, and how what is sent is taken, kept and answered."""
