"""Compares RTL, cycle model and golden functions over random and exhaustive cases."""
