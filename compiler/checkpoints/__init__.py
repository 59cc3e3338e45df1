"""Reads a checkpoint as a model: every tensor has a meaning, or is refused by name."""
