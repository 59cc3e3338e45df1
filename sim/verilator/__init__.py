"""Runs programs on the RTL at full speed, compiled by Verilator."""
