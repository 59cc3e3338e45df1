"""Turns float weights and activations into codes and scales, one scheme a file."""
