"""Softmax, norms and activations, in integers alone and in floating point.

Floats are quantized once on entry and scaled once on exit. Between the two every value is an
integer of a stated width, every constant a fixed integer, and every rounding is half up: add half,
shift right.
"""
