"""Describes a GEMM to the machine: shape, digits, groups, offsets."""

from dataclasses import dataclass
from typing import NamedTuple

from bitwright.hw.isa.instruction_table import DIGITS
from bitwright.models.errors import Error


class PlanError(Error, ValueError):
    """A GEMM that does not fit the machine. One line, for people."""


class Digit(NamedTuple):
    """One digit of a weight: ``Σ w·a`` gets its sum times ``2**shift``.

    slots : slices per channel
    packing : log2 of the codes that share a field of 4 bits, where codes are decoded
    stored : whether it has words of its own; otherwise those of the digit before
    """
    shift: int
    slots: int
    packing: int = 0
    stored: bool = True


@dataclass(frozen=True, kw_only=True)
class GemmSpec:
    """The shape and weight form of ``y[m, n] = Σ_k w[n, k]·a[m, k]`` with group scales.

    digits : low digit first
    sigma : the low digit subtracts the sum of activations
    offset : every group has an offset
    select : every group chooses its codebook
    plane_scales : every digit has a scale of its own
    group_size : ``k`` for one group per channel; groups are padded to whole K-tiles
    """
    m: int
    k: int
    n: int
    digits: tuple[Digit, ...]
    sigma: bool
    offset: bool = False
    select: bool = False
    plane_scales: bool = False
    group_size: int

    def __post_init__(self) -> None:
        for name in ("m", "k", "n", "group_size"):
            if getattr(self, name) < 1:
                raise PlanError(f"{name} must be positive, not {getattr(self, name)!r}")
        object.__setattr__(self, "digits", tuple(Digit(*digit) for digit in self.digits))
        if not 1 <= len(self.digits) <= DIGITS:
            raise PlanError(f"weights of {len(self.digits)} digits do not run; 1 to {DIGITS} do")

    @property
    def slots(self) -> int:
        """Slices per weight."""
        return sum(digit.slots for digit in self.digits)

    @property
    def scales(self) -> int:
        """Half-words per group and channel, offset included."""
        return (len(self.digits) if self.plane_scales else 1) + self.offset

    @property
    def macs(self) -> int:
        return self.m * self.k * self.n
