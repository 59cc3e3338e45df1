"""Counts the cycles of a program exactly as the RTL takes them."""
