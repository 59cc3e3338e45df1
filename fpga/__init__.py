"""Boards: the system around the core, bitstreams, the link, and the host that runs layers."""
