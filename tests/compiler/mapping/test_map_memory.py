"""Mapping holds a layer's codes and packed bytes in memory, and numbers of some channels only."""

import tracemalloc

import numpy as np
import pytest

from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.hw.machine.presets import PRESETS
from tests.compiler.layouts.test_gguf import NUMBERS, random_blocks
from tests.compiler.mapping.test_map_gguf import write_llama_gguf

VOCABULARY, HIDDEN = 1 << 16, 32
WEIGHTS = VOCABULARY * HIDDEN  # of the head, next to which the other layers are nothing


def head(kind):
    shape = (VOCABULARY, HIDDEN)
    if kind == "F16":
        return kind, shape, np.random.default_rng(0).normal(size=shape).astype("<f2").tobytes()
    return kind, shape, random_blocks(kind, WEIGHTS // NUMBERS[kind][1], 0).tobytes()


# Of each weight there are the block as read, its codes while they are unpacked and after, and what
# is packed of it; in float64, scales and offsets of each group of 32 and what becomes of them. Of a
# layer in floats, the floats as read and as float32.
@pytest.mark.parametrize("kind, bytes_per_weight", [("Q4_1", 12), ("Q8_0", 12), ("F16", 12)])
def test_peak(tmp_path, monkeypatch, kind, bytes_per_weight):
    for module in ("bitwright.models.quantization.quantized_matrix",
                   "bitwright.hw.packing.weight_image"):
        monkeypatch.setattr(f"{module}.PART", 1 << 14)
    source = write_llama_gguf(tmp_path / "m.gguf", ["Q4_1"],
                              **{"token_embd.weight": ("F16", (VOCABULARY, HIDDEN),
                                                       bytes(2 * WEIGHTS)),
                                 "output.weight": head(kind)})
    tracemalloc.start()
    try:
        map_checkpoint(source, tmp_path / "out", PRESETS["tiny"],
                       Options(tokens=1, weights="native"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < bytes_per_weight * WEIGHTS, peak / WEIGHTS
