"""Softmax, norms and activations in integers alone.

Floats are quantized once on entry (:mod:`bitwright.models.nonlinear.fixed_point`) and scaled once
on exit
(:mod:`bitwright.models.nonlinear.integer`). Between the two every value is an integer of a stated
width,
every constant a fixed integer, and every rounding is half up: add half, shift right.
"""

from bitwright.models.nonlinear.integer import INTEGER, Integer

__all__ = ["INTEGER", "Integer"]
