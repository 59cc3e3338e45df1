"""Amaranth components of the accelerator, its machine description and instruction set."""
