"""Chip families: one file per family says how the open tools make a bitstream for its chips."""
