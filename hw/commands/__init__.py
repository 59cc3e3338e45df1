"""The commands that print machines and export Verilog."""
