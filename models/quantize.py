"""Quantizers by name, and the parts of them that others use."""

from models.rounding import nearest_codes, pad_groups, quantize_activations, round_half_even
from models.rtn import quantize_weights

__all__ = ["nearest_codes", "pad_groups", "quantize_activations", "quantize_weights",
           "round_half_even"]
