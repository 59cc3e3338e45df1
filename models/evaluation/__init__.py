"""Measures what quantizing loses: errors of weights, perplexity, surveys of formats."""
