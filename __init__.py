"""Bitwright takes a quantized transformer from checkpoint to bitstream."""
