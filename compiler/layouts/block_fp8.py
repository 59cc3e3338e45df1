"""Block fp8: ``weight`` F8_E4M3 [O, I] and ``weight_scale_inv`` F32 [O/b0, I/b1], sizes rounded up.

``W = weight · weight_scale_inv`` of its block.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.layouts.layer_tensors import Layer, Tensors, pad_columns
from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.datatypes.catalog import DATATYPES


def spread(layer: Layer, suffix: str, n: int, k: int, rows: int, size: int
           ) -> NDArray[np.float64]:
    """Scales [n, ceil(k / size)] from one per block of ``rows`` channels."""
    stored = layer.floats(suffix, (-(-n // rows), -(-k // size)))
    return np.repeat(stored, min(rows, n), axis=0)[:n]


def check_nan(layer: Layer, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """E4M3 codes ``weight``, none of which may be NaN."""
    if (bad := codes & 127 == 127).any():
        raise layer.error("weight", f"at {np.argwhere(bad)[0].tolist()} is NaN; weights must be "
                                    "finite: the checkpoint is damaged")
    return codes


class BlockFp8(Layout):
    name = "fp8"
    summary = "blocks"
    datatypes = ("fp8_e4m3",)
    suffixes = ("weight", "weight_scale_inv", "input_scale")
    marks = ("weight_scale_inv",)

    def __init__(self, config: Mapping[str, Any]):
        super().__init__(config)
        self.one_of("fmt", ("e4m3",), "e4m3")
        block = config.get("weight_block_size")
        if not (isinstance(block, list) and len(block) == 2
                and all(type(size) is int and 0 < size <= 1 << 20 for size in block)):
            raise self.refuse("weight_block_size", ("two sizes",))
        self.rows, self.size = block

    def read(self, tensors: Tensors, module: str, n: int, k: int) -> NativeMatrix:
        layer, size = self.layer(tensors, module), min(self.size, k)
        layer.check("weight", ("F8_E4M3",), (n, k))
        scale = spread(layer, "weight_scale_inv", n, k, self.rows, size)
        codes = check_nan(layer, layer.take("weight", ("F8_E4M3",), (n, k)))
        return NativeMatrix(layout=self.name, datatype=DATATYPES["fp8_e4m3"], group_size=size,
                            k_logical=k, codes=pad_columns(codes, size), scale=scale)
