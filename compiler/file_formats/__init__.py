"""Reads the containers of checkpoints, safetensors and GGUF, as named tensors."""
