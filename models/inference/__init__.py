"""Runs models in NumPy: float references, and the integer golden functions."""
