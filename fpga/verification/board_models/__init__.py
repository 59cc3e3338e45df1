"""Models what stands around a chip on its board, for Verilator: C++ headers and harnesses."""
