"""cocotb benches on the whole core."""
