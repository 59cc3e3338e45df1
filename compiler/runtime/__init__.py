"""Runs a mapped model: one layer, a text or a generation, on the backend of choice."""
