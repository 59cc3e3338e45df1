"""bitsandbytes nf4: ``weight`` U8 [O·I/2, 1], row-major, the high nibble first; one ``absmax`` per
block of the flat weights, F32, or U8 when quantized itself; the rest in JSON.

``W = absmax · value(code)``, the 16 values F32 in ``quant_map``. A quantized absmax is
``nested_quant_map[u8] · nested_absmax + nested_offset`` in float32.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.layouts.layer_tensors import Layer, Tensors, nibbles
from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.command_line.printable import show
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.file_formats.mapped_file import CheckpointError, parse_json_object

_STATE = "weight.quant_state.bitsandbytes__nf4"
_STATE_MAX = 1 << 16  # bytes
_CODEBOOK = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0)


class BitsAndBytes(Layout):
    name = "bitsandbytes"
    summary = "`nf4`, `absmax` in floats or quantized itself"
    datatypes = ("nf4",)
    suffixes = ("weight", "weight.absmax", "weight.quant_map", "weight.nested_absmax",
                "weight.nested_quant_map", _STATE)
    marks = (_STATE, "weight.absmax")

    def __init__(self, config: Mapping[str, Any]):
        super().__init__(config)
        if config.get("load_in_8bit") or config.get("_load_in_8bit"):
            raise CheckpointError("quantization_config: load_in_8bit of bitsandbytes is not read; "
                                  "bnb_4bit_quant_type nf4 is")
        self.one_of("bnb_4bit_quant_type", ("nf4",))

    def _integer(self, layer: Layer, state: Mapping[str, Any], key: str) -> int:
        value = state.get(key)
        if type(value) is not int or not 1 <= value <= 1 << 20:
            raise layer.error(_STATE, f"must hold an integer {key} of 1...{1 << 20}, not "
                                      f"{show(value)}")
        return value

    def _state(self, layer: Layer, n: int, k: int) -> dict[str, Any]:
        layer.check(_STATE, ("U8",), (None,))
        size = layer.tensors.shape(layer.name(_STATE))[0]
        if size > _STATE_MAX:
            raise layer.error(_STATE, f"must have at most {_STATE_MAX} bytes, not {size}")
        state = parse_json_object(layer.take(_STATE, ("U8",), (None,)).tobytes(),
                                  f"{layer.tensors.path}: tensor {show(layer.name(_STATE))}")
        for key, want in (("quant_type", "nf4"), ("shape", [n, k])):
            if state.get(key) != want:
                raise layer.error(_STATE, f"must hold {key} {want}, not {show(state.get(key))}")
        return state

    def _absmax(self, layer: Layer, state: Mapping[str, Any], blocks: int) -> NDArray[np.float64]:
        if not layer.has("weight.nested_absmax"):
            return layer.floats("weight.absmax", (blocks,), ("F32",))
        size = self._integer(layer, state, "nested_blocksize")
        offset = state.get("nested_offset")
        if not isinstance(offset, float) or not abs(offset) <= np.finfo(np.float32).max:
            raise layer.error(_STATE, f"must hold a number nested_offset, not {show(offset)}")
        stored = layer.take("weight.absmax", ("U8",), (blocks,))
        table = layer.floats("weight.nested_quant_map", (256,), ("F32",)).astype(np.float32)
        outer = layer.floats("weight.nested_absmax", (-(-blocks // size),), ("F32",))
        scale = np.repeat(outer.astype(np.float32), min(size, blocks))[:blocks]
        with np.errstate(over="ignore"):
            absmax = (table[stored] * scale + np.float32(offset)).astype(np.float64)
        if not np.isfinite(absmax).all():
            raise layer.error("weight.nested_absmax", "gives a scale that is not finite: the "
                                                      "checkpoint is damaged")
        return absmax

    def read(self, tensors: Tensors, module: str, n: int, k: int) -> NativeMatrix:
        layer = self.layer(tensors, module)
        state = self._state(layer, n, k)
        size = self._integer(layer, state, "blocksize")
        layer.check("weight", ("U8",), (-(-n * k // 2), 1))
        found = layer.floats("weight.quant_map", (16,), ("F32",))
        if not np.array_equal(found, np.array(_CODEBOOK, dtype=np.float32)):
            raise layer.error("weight.quant_map", "must hold the 16 values of nf4")
        absmax = self._absmax(layer, state, -(-n * k // size))
        flat = nibbles(layer.take("weight", ("U8",), (None, 1)).reshape(-1), high_first=True)
        # Blocks run on from row to row: pieces of this size lie in one block and one row.
        piece = math.gcd(size, k)
        scale = absmax[np.arange(n * k // piece) * piece // size].reshape(n, -1)
        dt = DATATYPES["nf4"]
        off = max(abs(v / 127 - real) for v, real in zip(dt.values, _CODEBOOK, strict=True))
        return NativeMatrix(
            layout="bitsandbytes nf4", datatype=dt, group_size=piece, k_logical=k,
            codes=flat[:n * k].reshape(n, k), scale=scale / 127,
            note=f"nf4 values in steps of 1/127, off by {off:.1e} of absmax at most")
