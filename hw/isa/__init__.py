"""The instruction set: fields, encoding, programs as trees of loops, and their text."""
