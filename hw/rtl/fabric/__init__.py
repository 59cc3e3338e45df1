"""Arithmetic as each chip builds it best: adders, multipliers, memories."""
