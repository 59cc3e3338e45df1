"""The commands that estimate, simulate, verify and prove."""
