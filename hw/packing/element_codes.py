"""Encodes a datatype for an element: its digits, and the protocol of an element's codec.

An element takes bit-planes, made when weights are packed, or codes of up to 4 bits, decoded on
chip. Each element names its codec, which knows what a weight becomes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.elements import ELEMENTS, loaded
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.memory_format import (
    CODES,
    SELECTS,
    STEPS,
    TABLE_ROWS,
    entry_bits,
    row_index,
)
from bitwright.hw.tiling.gemm_spec import Digit
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture

__all__ = ["Codebook", "Codec", "Encoding", "Kind", "Stored", "StoredTile", "codec_of", "encode"]

Codebook = dict[int, int]  # code -> value
Kind = Datatype | Mixture


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """``parts`` holds, per digit of decoded weights, one codebook per select."""
    digits: tuple[Digit, ...]
    sigma: bool = False
    select: bool = False
    plane_scales: bool = False
    ternary: bool = False                           # three weights per table index
    stored_values: bool = False                     # codes of the digits are parts of the value
    parts: tuple[tuple[Codebook, ...], ...] = ()

    def part_bits(self, digit: int) -> int:
        """Bits of a stored code of ``digit``."""
        return 4 >> self.digits[digit].packing

    def table(self, machine: Machine) -> bytes:
        """The decode table as the machine loads it."""
        codec, bits = codec_of(machine), entry_bits(machine)
        rows = np.zeros((TABLE_ROWS, CODES), dtype=np.uint16)
        for digit, codebooks in enumerate(self.parts):
            for select, codebook in enumerate(codebooks):
                for code, value in codebook.items():
                    for step, entry in enumerate(codec.entries(machine, value,
                                                               self.digits[digit].slots)):
                        rows[row_index(digit, select, step), code] = entry
        flat = (rows.reshape(-1, 1) >> np.arange(bits, dtype=np.uint16) & 1).astype(np.uint8)
        return np.packbits(flat.reshape(-1), bitorder="little").tobytes()


class Stored(NamedTuple):
    """One digit of a matrix. ``fields`` [n, K-tiles, slices, fields] of ``bits`` bits each, in the
    order of a word; ``error`` [n, K-tiles] is what the digit's sum has too much."""
    fields: NDArray[np.uint8]
    bits: int
    error: NDArray[np.int64]


class StoredTile(Protocol):
    """An output tile of packed weights, read field by field: [channels, K-tiles, lanes]."""

    def slices(self, digit: int, position: int) -> NDArray[np.uint8]:
        """Return slice ``position`` of a digit, the top one being 0."""
        ...

    def codes(self, digit: int) -> NDArray[np.uint8]:
        """Return the codes of a digit."""
        ...


class Codec(Protocol):
    """Encodes and stores weights for an element. Its class takes no arguments.

    :class:`bitwright.hw.packing.code_codec.CodeCodec` has all of it for elements that decode but
    what a value needs; :class:`bitwright.hw.packing.plane_codec.PlaneCodec` serves bit-planes.
    """

    def encode(self, machine: Machine, kind: Kind) -> Encoding:
        """Return how weights of ``kind`` run. Raises
        :class:`bitwright.hw.tiling.gemm_spec.PlanError`, with the reason, if they do not."""
        ...

    def entries(self, machine: Machine, value: int, slots: int) -> Sequence[int]:
        """Return what the decode table sends for a digit's ``value`` in each of its slots."""
        ...

    def store(self, machine: Machine, encoding: Encoding, kind: Kind, codes: NDArray[np.uint8],
              select: NDArray[np.uint8]) -> Iterator[Stored]:
        """Yield the digits of weights, low digit first. ``codes`` are [n, K-tiles, k_tile],
        ``select`` the codebooks [n, K-tiles]. A digit that shares the words of the one before
        has the same ``fields``."""
        ...

    def read(self, machine: Machine, encoding: Encoding, kind: Kind, tile: StoredTile
             ) -> NDArray[np.int64]:
        """Return the weights [channels, K-tiles, k_tile] of a stored tile: codes where codes or
        scaled planes are stored, otherwise values."""
        ...


@cache
def _codec(reference: str) -> Codec:
    return loaded(reference)()


def codec_of(machine: Machine) -> Codec:
    """Return the codec of the machine's element."""
    return _codec(ELEMENTS[machine.pe].codec)


def encode(machine: Machine, kind: Kind) -> Encoding:
    """Return how weights of ``kind`` run on ``machine``. Raises
    :class:`bitwright.hw.tiling.gemm_spec.PlanError`, with the reason, for a pair that does not."""
    encoding = codec_of(machine).encode(machine, kind)
    assert all(digit.slots <= STEPS for digit in encoding.digits)
    assert all(len(part) <= SELECTS for part in encoding.parts)
    return encoding
