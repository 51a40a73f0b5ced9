"""Triton: the embedded server and the client that every case goes through."""
