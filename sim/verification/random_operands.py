"""Draws random weights of any datatype, as large as machine and accumulator allow."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.machine.derived_sizes import MULT_BITS
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.memory_format import SELECT_BIT
from bitwright.hw.packing.element_codes import encode
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES, datatype
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.inference.golden import ACCUMULATOR_MAX, accumulator_bound
from bitwright.models.quantization.quantized_matrix import MANTISSA_BITS, QuantizedMatrix

__all__ = ["has_offsets", "random_activations", "random_matrix", "supported"]


@cache
def supported(machine: Machine) -> tuple[str, ...]:
    """Datatypes and mixtures that run on ``machine``."""
    def runs(name: str) -> bool:
        try:
            encode(machine, datatype(name))
        except PlanError:
            return False
        return True

    return tuple(name for name in (*DATATYPES, *MIXTURES) if runs(name))


def has_offsets(name: str) -> bool:
    """Say whether the datatype is used with offsets: two's complement of 2 bits and more."""
    return name.startswith("int") and name[3:].isdigit() and name != "int1"


def random_activations(machine: Machine, m: int, k: int, rng: np.random.Generator,
                       extreme: bool = False) -> NDArray[np.int64]:
    """[m, k] over the whole range; with ``extreme`` all at the minimum."""
    limit = 1 << machine.act_bits - 1
    return np.full((m, k), -limit) if extreme else rng.integers(-limit, limit, (m, k))


def _codes(kind: Datatype | Mixture, select: NDArray[np.uint8] | None, size: int,
           shape: tuple[int, int], rng: np.random.Generator, extreme: bool) -> NDArray[np.uint8]:
    codes = np.zeros((*shape, size), dtype=np.uint8)
    types = kind.datatypes if isinstance(kind, Mixture) else (kind,)
    for number, dt in enumerate(types):
        used = np.array(dt.codes, dtype=np.uint8)
        least = used[np.argmin([dt.values[code] for code in dt.codes])]
        some = np.full(codes.shape, least) if extreme else rng.choice(used, codes.shape)
        codes = some if select is None else np.where(select[..., None] == number, some, codes)
    return codes.reshape(shape[0], -1)


def random_matrix(machine: Machine, name: str, n: int, k: int, group_size: int,
                  rng: np.random.Generator, *, asymmetric: bool = False, extreme: bool = False
                  ) -> QuantizedMatrix:
    """Random codes, selects, scales and offsets that the int32 accumulator holds; ``group_size`` 0
    is the whole channel. With ``extreme`` all weights have their least value and scales are as
    large as multiplier and accumulator allow.

    Raises :class:`PlanError` if no scale is small enough."""
    kind = datatype(name)
    encoding = encode(machine, kind)
    size = group_size or k
    shape = (n, -(-k // size))
    extra: dict[str, Any] = {}
    select = None
    room = MULT_BITS - 1 - max(digit.shift for digit in encoding.digits)
    widest = SELECT_BIT if encoding.select else MANTISSA_BITS - 1
    if isinstance(kind, Mixture):
        select = rng.integers(0, len(kind.datatypes), shape).astype(np.uint8)
        extra["select"] = select
    elif kind.plane_scaled:
        extra["plane_shift"] = rng.integers(0, 4, (*shape, kind.planes)).astype(np.uint8)
        room -= 3
    codes = _codes(kind, select, size, shape, rng, extreme)
    shift = rng.integers(0, min(room, 4), shape).astype(np.uint8)
    bits = np.minimum(room - shift.astype(np.int64), widest)
    mantissa = (1 << bits) - 1 if extreme else rng.integers(0, 1 << rng.integers(1, bits + 1))
    offset = rng.integers(-2048, 2048, shape)

    def matrix(mantissa: NDArray[np.int64], shift: NDArray[np.uint8], offset: NDArray[np.int64]
               ) -> QuantizedMatrix:
        if asymmetric:
            extra.update(offset_mantissa=offset.astype(np.int16), offset_shift=shift)
        return QuantizedMatrix(
            datatype=kind, codes=codes, group_size=size, scale_mantissa=mantissa.astype(np.int16),
            scale_shift=shift, k_logical=k, channel_scale=np.ones(n), **extra)

    def bound(found: QuantizedMatrix) -> int:
        return int(accumulator_bound(found, machine.act_bits).max())

    least = bound(matrix(np.ones_like(mantissa), np.zeros_like(shift), np.zeros_like(offset)))
    if least > ACCUMULATOR_MAX:
        raise PlanError(f"accumulators of {n}x{k} {name} on {machine.name} reach {least}, beyond "
                        f"int32's {ACCUMULATOR_MAX}, with scales of 1; use a smaller K or fewer "
                        "bits")
    while bound(found := matrix(mantissa, shift, offset)) > ACCUMULATOR_MAX:
        shift = shift // 2
        mantissa, offset = -(-mantissa // 2), np.sign(offset) * (np.abs(offset) // 2)
    return found
