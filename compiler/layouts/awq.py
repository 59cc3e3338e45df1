"""AWQ, version ``gemm``: 4 bits, ``qweight`` I32 [I, O/8] and ``qzeros`` I32 [G, O/8] packed along
the output, ``scales`` [G, O]. Nibble ``i`` of word ``c`` is output ``8c + ORDER[i]``.

``W[i, o] = scales[g, o] · (q - z)``, ``g = i // group_size``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.layouts.gptq import unsigned_zero
from bitwright.compiler.layouts.layer_tensors import FLOATS, Tensors, pad_columns, unpack_stream
from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.datatypes.catalog import DATATYPES

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def _columns(words: NDArray) -> NDArray[np.uint8]:
    """[R, O/8] words as [R, O] values."""
    stored = unpack_stream(words, 4, words.shape[1] * 8).reshape(len(words), -1, 8)
    found = np.empty_like(stored)
    found[:, :, ORDER] = stored
    return found.reshape(len(words), -1)


class Awq(Layout):
    name = "awq"
    summary = "version `gemm`"
    datatypes = ("int4",)
    suffixes = ("qweight", "qzeros", "scales")
    marks = ("qweight",)

    def __init__(self, config: Mapping[str, Any]):
        super().__init__(config)
        self.one_of("bits", (4,))
        self.one_of("zero_point", (True,), True)
        version = config.get("version", "gemm")
        if not isinstance(version, str) or version.lower() != "gemm":
            raise self.refuse("version", ("gemm",))
        self.size = self.group_size()

    def read(self, tensors: Tensors, module: str, n: int, k: int) -> NativeMatrix:
        layer = self.layer(tensors, module)
        if n % 8:
            raise layer.error("qweight", f"cannot be of layout awq: {n} output features are no "
                                         "multiple of 8")
        size = min(self.size or k, k)
        groups = -(-k // size)
        layer.check("qweight", ("I32",), (k, n // 8))
        layer.check("qzeros", ("I32",), (groups, n // 8))
        layer.check("scales", FLOATS, (groups, n))
        codes = _columns(layer.take("qweight", ("I32",), (k, n // 8))).T
        zero = _columns(layer.take("qzeros", ("I32",), (groups, n // 8))).T
        scale = layer.floats("scales", (groups, n)).T
        return NativeMatrix(
            layout=self.name, datatype=DATATYPES["int4"], group_size=size, k_logical=k,
            codes=pad_columns(codes ^ np.uint8(8), size), scale=scale,
            offset=unsigned_zero(4, scale, zero))
