"""Fetches model files once, checks their hashes, and keeps them in a cache."""
