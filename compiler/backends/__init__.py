"""Backends: what a mapped model's launches run on."""
