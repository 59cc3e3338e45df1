"""A plug-in: a layout of four-bit weights, a sign and three bits of magnitude."""

import numpy as np

from bitwright.compiler.layouts import LAYOUTS, Layout, NativeMatrix
from bitwright.compiler.layouts.layer_tensors import FLOATS, nibbles
from bitwright.models.datatypes.catalog import DATATYPES


@LAYOUTS.register
class SignMagnitude(Layout):
    """``nibbles`` U8 [O, I/2], the even input in the low nibble, and ``scale`` [O].

    ``W = scale · (-1)^sign · magnitude``, the sign on top.
    """
    name = "sign-magnitude"
    summary = "a sign and three bits of magnitude"
    datatypes = ("int4",)
    suffixes = ("nibbles", "scale")
    marks = ("nibbles",)

    def __init__(self, config):
        super().__init__(config)
        self.one_of("bits", (4,))

    def read(self, tensors, module, n, k):
        layer = self.layer(tensors, module)
        stored = nibbles(layer.take("nibbles", ("U8",), (n, k // 2)))
        magnitude = (stored & 7).astype(np.int8)
        values = np.where(stored & 8, -magnitude, magnitude)
        return NativeMatrix(
            layout=self.name, datatype=DATATYPES["int4"], group_size=k, k_logical=k,
            codes=values.astype(np.uint8) & np.uint8(15),
            scale=layer.floats("scale", (n,), FLOATS)[:, None])
