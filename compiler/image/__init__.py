"""Writes and opens a mapped model on disk: the manifest, weights, programs and host files."""
