"""Models the machine in cycles, simulates its RTL, and holds each to the golden functions."""
