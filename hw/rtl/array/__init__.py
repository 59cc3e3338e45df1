"""The array: rows of elements, the tables and decoders that feed them, its engine."""
