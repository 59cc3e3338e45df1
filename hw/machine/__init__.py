"""The machine description, and every size that follows from it."""
