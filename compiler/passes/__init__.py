"""The passes: each takes a program and returns a new one, in a file of its own.

Shapes are settled before weights are touched: a model that does not fit is refused at once, and
weights then stream through quantization into the image one layer at a time.
"""
