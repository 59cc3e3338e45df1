"""The commands that map a checkpoint, run what was mapped, and report on both."""
