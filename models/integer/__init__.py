"""Softmax, norms and activations in integers alone.

Floats are quantized once on entry (:mod:`models.integer.fixed`) and scaled once on exit
(:mod:`models.integer.functions`). Between the two every value is an integer of a stated width,
every constant a fixed integer, and every rounding is half up: add half, shift right.
"""

from models.integer.functions import INTEGER, Integer

__all__ = ["INTEGER", "Integer"]
