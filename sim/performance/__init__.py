"""Estimates GEMMs and compares the machine with published figures."""
