"""Runs Yosys, nextpnr and the packers: from Verilog to a checked bitstream."""
