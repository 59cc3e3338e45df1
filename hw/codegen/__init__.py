"""Turns tile plans into programs: of one GEMM, a chain, or the launches of a model."""
