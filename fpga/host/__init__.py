"""Runs the layers of a mapped model on a board, over its link."""
