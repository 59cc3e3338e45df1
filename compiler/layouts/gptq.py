"""GPTQ: ``qweight`` I32 [I·bits/32, O] packed along the input, ``qzeros`` I32 [G, O·bits/32] along
the output, both dense from the least significant bit on; ``scales`` [G, O]; ``g_idx`` I32 [I].

``W[i, o] = scales[g, o] · (q - z)``, ``g = g_idx[i]``. ``checkpoint_format`` ``gptq`` stores
``z - 1`` and ``gptq_v2`` stores ``z``; some files say it in ``format``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitwright.compiler.layouts.layer_tensors import (
    FLOATS,
    Tensors,
    by_columns,
    order_by_group,
    unpack_stream,
)
from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.file_formats.mapped_file import CheckpointError

BITS = (2, 3, 4, 8)


def unsigned_zero(bits: int, scale, zero):
    """Offsets of two's-complement values ``q - 2^(bits-1)`` for zero points ``z`` of ``q``; None
    where every one is 0."""
    difference = (1 << bits - 1) - zero.astype(np.float64)
    return scale * difference if difference.any() else None


class Gptq(Layout):
    name = "gptq"
    summary = "versions 1 and 2; 2, 3, 4 and 8 bits; `g_idx` in any order"
    datatypes = ("int2", "int3", "int4", "int8")
    suffixes = ("qweight", "qzeros", "scales", "g_idx")
    marks = ("qweight",)

    def __init__(self, config: Mapping[str, Any]):
        super().__init__(config)
        self.bits = self.one_of("bits", BITS)
        self.size = self.group_size()
        self.one_of("pack_dtype", ("int32",), "int32")
        key = "checkpoint_format" if "checkpoint_format" in config else "format"
        self.plus = int(self.one_of(key, ("gptq", "gptq_v2"), "gptq") == "gptq")
        if config.get("dynamic"):
            raise CheckpointError("quantization_config: dynamic of gptq, other settings for some "
                                  "layers, is not read: save the checkpoint with one for all")

    def read(self, tensors: Tensors, module: str, n: int, k: int) -> NativeMatrix:
        layer, bits = self.layer(tensors, module), self.bits
        for name, size in (("input", k), ("output", n)):
            if size * bits % 32:
                raise layer.error("qweight", f"cannot be of layout gptq: {size} {name} features "
                                             f"of {bits} bits are no whole number of words")
        size = min(self.size or k, k)
        groups = -(-k // size)
        layer.check("qweight", ("I32",), (k * bits // 32, n))
        layer.check("qzeros", ("I32",), (groups, n * bits // 32))
        layer.check("scales", FLOATS, (groups, n))
        columns = None
        if layer.has("g_idx"):
            columns = order_by_group(layer.take("g_idx", ("I32", "I64"), (k,)), groups, size,
                                     lambda text: layer.error("g_idx", text))
        elif self.config.get("desc_act"):
            layer.check("g_idx", ("I32",), (k,))
        words = layer.take("qweight", ("I32",), (k * bits // 32, n))
        codes = unpack_stream(words.T, bits, k)
        zero = unpack_stream(layer.take("qzeros", ("I32",), (groups, None)), bits, n).T
        scale = layer.floats("scales", (groups, n)).T
        sign = np.uint8(1 << bits - 1)
        return NativeMatrix(
            layout=self.name, datatype=DATATYPES[f"int{bits}"], group_size=size, k_logical=k,
            codes=by_columns(codes ^ sign, columns, size), columns=columns, scale=scale,
            offset=unsigned_zero(bits, scale, zero.astype(np.int64) + self.plus))
