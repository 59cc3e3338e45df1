"""Packs weights and activations into the words of the buffers, and outputs back."""
