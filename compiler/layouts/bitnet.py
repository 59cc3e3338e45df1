"""BitNet: ternary weights with one scale per tensor, packed or as BF16 master weights.

Packed: ``weight`` U8 [O/4, I]; output ``r`` has bits ``2·(r // (O/4))`` of row ``r % (O/4)``, which
hold ``w + 1``; ``weight_scale`` [1] divides (``linear_class`` ``bitlinear``) or multiplies
(``autobitlinear``). Master weights are rounded as the layer itself does:
``clamp(round(w / s), -1, 1) · s`` with ``s = mean|w|``, at least 1e-5.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.layouts.layer_tensors import FLOATS, Layer, Tensors
from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.command_line.printable import show
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.file_formats.mapped_file import CheckpointError

CLASSES = ("bitlinear", "autobitlinear")
_FLOOR = 1e-5


class BitNet(Layout):
    name = "bitnet"
    summary = "packed, or master weights"
    datatypes = ("ternary",)
    suffixes = ("weight", "weight_scale")

    def __init__(self, config: Mapping[str, Any]):
        super().__init__(config)
        self.linear_class = config.get("linear_class")
        if self.linear_class is not None:
            self.one_of("linear_class", CLASSES)
        self.one_of("quantization_mode", ("offline", "online"), "offline")
        self.one_of("use_rms_norm", (False,), False)
        kept = config.get("modules_to_not_convert")
        self.kept = ["lm_head"] if kept is None else kept
        if not (isinstance(self.kept, list) and all(isinstance(name, str) for name in self.kept)):
            raise CheckpointError("quantization_config: modules_to_not_convert must be a list of "
                                  f"names, not {show(kept)}")

    def holds(self, tensors: Tensors, module: str) -> bool:
        name = f"{module}.weight"
        if name not in tensors.names:
            return False
        return tensors.dtype(name) == "U8" or not any(
            kept == module or kept in module.split(".") for kept in self.kept)

    def read(self, tensors: Tensors, module: str, n: int, k: int) -> NativeMatrix:
        layer = self.layer(tensors, module)
        if layer.has("weight") and tensors.dtype(layer.name("weight")) in FLOATS:
            return self._master(layer, n, k)
        if n % 4:
            raise layer.error("weight", f"cannot be of layout bitnet: {n} output features are no "
                                        "multiple of 4")
        packed = layer.take("weight", ("U8",), (n // 4, k))
        shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None, None]
        stored = (packed >> shifts & np.uint8(3)).reshape(n, k)
        if (bad := stored == 3).any():
            raise layer.error("weight", f"at {np.argwhere(bad)[0].tolist()} (output, input) holds "
                                        "3, and -1, 0 and 1 are stored as 0, 1 and 2: the "
                                        "checkpoint is damaged")
        return self._matrix(stored.astype(np.int8) - 1, self._scale(layer), k)

    def _scale(self, layer: Layer) -> float:
        stored = float(layer.floats("weight_scale", (1,))[0])
        if stored <= 0:
            raise layer.error("weight_scale", f"must be positive, not {stored}")
        if self.linear_class is None and stored != 1:
            raise CheckpointError(
                "quantization_config: linear_class is missing, and bitlinear divides by "
                f"weight_scale ({stored} in {show(layer.module)}), autobitlinear multiplies: add "
                "the one that this checkpoint was made for")
        return 1 / stored if self.linear_class == "bitlinear" else stored

    def _master(self, layer: Layer, n: int, k: int) -> NativeMatrix:
        if layer.has("weight_scale"):
            raise layer.error("weight_scale", "does not go with weights in floats: check that "
                                              "config.json belongs to this file")
        w = layer.floats("weight", (n, k))
        scale = max(float(np.abs(w).mean()), _FLOOR)
        return self._matrix(np.clip(np.rint(w / scale), -1, 1).astype(np.int8), scale, k,
                            "rounded from master weights")

    def _matrix(self, values: NDArray[np.int8], scale: float, k: int, note: str = ""
                ) -> NativeMatrix:
        return NativeMatrix(
            layout=self.name, datatype=DATATYPES["ternary"], group_size=k, k_logical=k,
            codes=values.view(np.uint8) & np.uint8(3), scale=np.full((len(values), 1), scale),
            note=note)
