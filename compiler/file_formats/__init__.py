"""Reads safetensors files as named tensors, and says what every file of tensors offers."""
