"""What a weight code means: the datatypes, built in and custom."""
