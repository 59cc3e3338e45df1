"""The system on a chip: the core, memory controllers, clock and reset, each board's top."""
