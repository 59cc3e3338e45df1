"""Cuts a GEMM into tiles that fit the buffers, and searches for the fastest cut."""
