"""Compares boards and netlists with the golden model, in simulation."""
