"""compressed-tensors: one set of weight settings for all quantized layers, in one of the formats
``pack-quantized``, ``int-quantized``, ``float-quantized``, ``nvfp4-pack-quantized`` and
``mxfp4-pack-quantized``.

``W = weight_scale · (q - weight_zero_point)``. Scales are one per tensor [1], per channel [O, 1],
per group [O, G], or (floats) per block [O/b, I/b].
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.layouts.block_fp8 import check_nan, spread
from bitwright.compiler.layouts.layer_tensors import (
    Layer,
    Tensors,
    by_columns,
    nibbles,
    order_by_group,
    pad_columns,
    unpack_stream,
    unpack_words,
)
from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.command_line.printable import show
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.file_formats.mapped_file import CheckpointError

FORMATS = ("pack-quantized", "int-quantized", "float-quantized", "nvfp4-pack-quantized",
           "mxfp4-pack-quantized")
Unpack = Callable[[NDArray, int, int], NDArray[np.uint8]]  # words [R, W], bits, count
_BITS = (2, 3, 4, 5, 6, 7, 8)


class CompressedTensors(Layout):
    name = "compressed-tensors"
    summary = ", ".join(f"`{form}`" for form in FORMATS)
    datatypes = (*(f"int{bits}" for bits in _BITS), "fp8_e4m3", "fp4")
    suffixes = ("weight", "weight_packed", "weight_scale", "weight_shape", "weight_zero_point",
                "weight_g_idx", "weight_global_scale", "input_scale", "input_zero_point",
                "input_global_scale")
    marks = ("weight_scale",)

    def __init__(self, config: Mapping[str, Any]):
        super().__init__(config)
        self.format = self.one_of("format", FORMATS)
        sparsity = config.get("sparsity_config")
        if sparsity and not (isinstance(sparsity, dict) and sparsity.get("format") == "dense"):
            raise CheckpointError("quantization_config: sparsity_config of compressed-tensors is "
                                  "not read; dense weights are")
        if config.get("transform_config"):
            raise CheckpointError("quantization_config: transform_config of compressed-tensors, "
                                  "rotations beside the weights, is not read; plain weights are")
        groups = config.get("config_groups")
        if not isinstance(groups, dict) or not groups or not all(
                isinstance(group, dict) and isinstance(group.get("weights"), dict)
                for group in groups.values()):
            raise CheckpointError("quantization_config: config_groups of compressed-tensors must "
                                  f"have groups with weights, not {show(groups)}")
        every = [group["weights"] for group in groups.values()]
        keys = ("num_bits", "type", "strategy", "group_size", "block_structure")
        for key in keys:
            if any(weights.get(key) != every[0].get(key) for weights in every):
                raise CheckpointError(f"quantization_config: config_groups of compressed-tensors "
                                      f"differ in {key}; one for all layers is read")
        if any(group.get("format") not in (None, self.format) for group in groups.values()):
            raise CheckpointError("quantization_config: config_groups of compressed-tensors differ "
                                  "in format; one for all layers is read")
        self.weights = every[0]
        kind = self._one_of("type", ("int",) if self.format in FORMATS[:2] else ("float",))
        self.bits = self._one_of("num_bits", _BITS if kind == "int" else
                                 (8,) if self.format == "float-quantized" else (4,))

    def _one_of(self, key: str, known: tuple) -> Any:
        value = self.weights.get(key)
        if not any(type(value) is type(each) and value == each for each in known):
            raise CheckpointError(f"quantization_config: {key} of {self.format} must be "
                                  f"{' or '.join(map(str, known))}, which are read, not "
                                  f"{show(value)}")
        return value

    def _size(self, k: int) -> int:
        """Input features per scale."""
        value = self.weights.get("group_size")
        if value in (None, -1):
            return k
        if type(value) is not int or not 0 < value <= 1 << 20:
            raise CheckpointError(f"quantization_config: group_size of {self.format} must be "
                                  f"-1 or 1...{1 << 20}, not {show(value)}")
        return min(value, k)

    def read(self, tensors: Tensors, module: str, n: int, k: int) -> NativeMatrix:
        layer = self.layer(tensors, module)
        return {"pack-quantized": self._packed, "int-quantized": self._integers,
                "float-quantized": self._floats, "nvfp4-pack-quantized": self._nvfp4,
                "mxfp4-pack-quantized": self._mxfp4}[self.format](layer, n, k)

    @property
    def title(self) -> str:
        return f"{self.name} {self.format}"

    def _scale(self, layer: Layer, n: int, groups: int) -> NDArray[np.float64]:
        """[n, groups] from [1], [n, 1] or [n, groups]."""
        name = layer.name("weight_scale")
        if layer.has("weight_scale") and layer.tensors.shape(name) == (1,):
            return np.broadcast_to(layer.floats("weight_scale", (1,)), (n, groups))
        return layer.floats("weight_scale", (n, groups))

    def _offset(self, scale: NDArray[np.float64], zero: NDArray) -> NDArray[np.float64] | None:
        return scale * -zero.astype(np.float64) if zero.any() else None

    def _unpacker(self, layer: Layer, k: int) -> Unpack:
        """Return how words hold values: a dense stream, or as many whole values as fit, the form of
        older files. Their widths tell the two apart, unless they are equal."""
        values = 32 // self.bits
        dense, whole = -(-k * self.bits // 32), -(-k // values)
        width = (layer.tensors.shape(layer.name("weight_packed")) if layer.has("weight_packed")
                 else ())[-1:]
        if dense == whole and k > values and 32 % self.bits:
            raise layer.error("weight_packed", f"cannot be told apart: {k} values of {self.bits} "
                                               f"bits take {dense} words, dense or not")
        return unpack_words if dense != whole and width == (whole,) else unpack_stream

    def _packed(self, layer: Layer, n: int, k: int) -> NativeMatrix:
        bits, size = self.bits, self._size(k)
        groups, half = -(-k // size), 1 << self.bits - 1
        unpack = self._unpacker(layer, k)

        def words(count: int) -> int:
            return -(-count * bits // 32) if unpack is unpack_stream else -(-count // (32 // bits))
        layer.check("weight_packed", ("I32",), (n, words(k)))
        if layer.has("weight_shape"):
            shape = layer.take("weight_shape", ("I32", "I64"), (2,)).tolist()
            if shape != [n, k]:
                raise layer.error("weight_shape", f"must hold {[n, k]}, not {shape}: check that "
                                                  "config.json belongs to this file")
        scale = self._scale(layer, n, groups)
        offset = None
        if layer.has("weight_zero_point"):
            packed = layer.take("weight_zero_point", ("I32",), (words(n), groups))
            zero = unpack(packed.T, bits, n).T.astype(np.int64) - half
            offset = self._offset(scale, zero)
        columns = None
        if layer.has("weight_g_idx"):
            columns = order_by_group(layer.take("weight_g_idx", ("I32", "I64"), (k,)), groups,
                                     size, lambda text: layer.error("weight_g_idx", text))
        codes = unpack(layer.take("weight_packed", ("I32",), (n, words(k))), bits, k)
        return NativeMatrix(
            layout=self.title, datatype=DATATYPES[f"int{bits}"], group_size=size, k_logical=k,
            codes=by_columns(codes ^ np.uint8(half), columns, size), columns=columns,
            scale=scale, offset=offset)

    def _integers(self, layer: Layer, n: int, k: int) -> NativeMatrix:
        size = self._size(k)
        groups, half = -(-k // size), 1 << self.bits - 1
        layer.check("weight", ("I8",), (n, k))
        scale = self._scale(layer, n, groups)
        offset = None
        if layer.has("weight_zero_point"):
            one = layer.tensors.shape(layer.name("weight_zero_point")) == (1,)
            zero = layer.take("weight_zero_point", ("I8",), (1,) if one else (n, groups))
            offset = self._offset(scale, np.broadcast_to(zero, (n, groups)))
        stored = layer.take("weight", ("I8",), (n, k))
        if (bad := (stored < -half) | (stored >= half)).any():
            at = np.argwhere(bad)[0].tolist()
            raise layer.error("weight", f"at {at} is {stored[tuple(at)]}, which {self.bits} bits "
                                        "do not hold: the checkpoint is damaged")
        codes = stored.view(np.uint8) & np.uint8(2 * half - 1)
        return NativeMatrix(
            layout=self.title, datatype=DATATYPES[f"int{self.bits}"], group_size=size,
            k_logical=k, codes=pad_columns(codes, size), scale=scale, offset=offset)

    def _floats(self, layer: Layer, n: int, k: int) -> NativeMatrix:
        layer.check("weight", ("F8_E4M3",), (n, k))
        block = self.weights.get("block_structure")
        if block is None:
            size = self._size(k)
            scale = self._scale(layer, n, -(-k // size))
        else:
            if not (isinstance(block, list) and len(block) == 2
                    and all(type(each) is int and each > 0 for each in block)):
                raise CheckpointError("quantization_config: block_structure of float-quantized "
                                      f"must be two positive integers, not {show(block)}")
            size = min(block[1], k)
            scale = spread(layer, "weight_scale", n, k, block[0], size)
        codes = check_nan(layer, layer.take("weight", ("F8_E4M3",), (n, k)))
        return NativeMatrix(layout=self.title, datatype=DATATYPES["fp8_e4m3"], group_size=size,
                            k_logical=k, codes=pad_columns(codes, size), scale=scale)

    def _nibbles(self, layer: Layer, n: int, k: int, size: int) -> NDArray[np.uint8]:
        if k % 2:
            raise layer.error("weight_packed", f"cannot be of layout {self.title}: {k} input "
                                               "features are no whole number of bytes")
        return pad_columns(nibbles(layer.take("weight_packed", ("U8",), (n, k // 2))), size)

    def _nvfp4(self, layer: Layer, n: int, k: int) -> NativeMatrix:
        size = 16
        scale = layer.floats("weight_scale", (n, -(-k // size)), ("F8_E4M3",))
        whole = float(layer.floats("weight_global_scale", (1,), ("F32",))[0])
        if whole <= 0:
            raise layer.error("weight_global_scale", f"must be positive, not {whole}")
        return NativeMatrix(layout=self.title, datatype=DATATYPES["fp4"], group_size=size,
                            k_logical=k, codes=self._nibbles(layer, n, k, size), scale=scale,
                            factor=np.full(n, 1 / whole))

    def _mxfp4(self, layer: Layer, n: int, k: int) -> NativeMatrix:
        size = 32
        scale = layer.powers("weight_scale", (n, -(-k // size)))
        return NativeMatrix(layout=self.title, datatype=DATATYPES["fp4"], group_size=size,
                            k_logical=k, codes=self._nibbles(layer, n, k, size), scale=scale)
