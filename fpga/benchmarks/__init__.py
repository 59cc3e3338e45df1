"""Measures circuits on chips: density of elements, peak of a chip, throughput of a board."""
