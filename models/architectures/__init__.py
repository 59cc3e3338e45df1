"""Transformers without weights: configurations, families, operators, tensor names."""
