"""Defines how attention's keys and values are stored for the array."""

from dataclasses import dataclass

from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.hw.tiling.gemm_spec import GemmSpec
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.inference.golden import ACCUMULATOR_MAX

__all__ = ["FORMS", "KeyForm"]

FORMS = ("int8", "int4")
SCALE_BITS = 8


@dataclass(frozen=True)
class KeyForm:
    """The storage of keys and values. ``name`` is int8 or int4. ``group_size`` columns of a key
    share a scale, 0 for the whole head; None is the whole head for int8 and 32 for int4."""
    name: str = "int8"
    group_size: int | None = None

    def __post_init__(self) -> None:
        if self.name not in FORMS:
            raise ValueError(f"keys and values must be {' or '.join(FORMS)}, not {self.name!r}")
        if self.group_size is not None and self.group_size < 0:
            raise ValueError(f"group size of keys must be 0 or positive, not {self.group_size}")

    @property
    def datatype(self) -> Datatype:
        found = DATATYPES[self.name]
        assert isinstance(found, Datatype)
        return found

    def group(self, head: int) -> int:
        size = self.group_size
        if size is None:
            size = 0 if self.name == "int8" else 32
        return min(size or head, head)

    def spec(self, machine: Machine, values: bool, m: int, k: int, n: int) -> GemmSpec:
        """The GEMM of ``m`` rows with keys [n, k], or with ``values`` [n, k] of ``k`` tokens."""
        return shape_spec(machine, m, k, n, self.datatype, k if values else self.group(k), False)

    def scale_bits(self, head: int, act_bits: int) -> int:
        """Most mantissa bits, up to 8, with which no score exceeds an accumulator. ``ValueError``
        if there are none."""
        most = ACCUMULATOR_MAX // (head << self.datatype.bits + act_bits - 2)
        if not most:
            raise ValueError(f"scores of {head} {self.name} keys and {act_bits}-bit activations "
                             f"exceed {ACCUMULATOR_MAX}; use --kv int4 or --kv float")
        return min(SCALE_BITS, (most + 1).bit_length() - 1)

    def weight_bits(self, tokens: int, act_bits: int) -> int:
        """Bits of the softmax's weights: the machine's, or fewer where so many tokens could
        exceed an accumulator. ``ValueError`` if less than two are left."""
        most = ACCUMULATOR_MAX // (tokens << self.datatype.bits - 1)
        if most < 2:
            raise ValueError(f"attention over {tokens} tokens exceeds {ACCUMULATOR_MAX}; use "
                             "--kv float, or a shorter text")
        return min(act_bits, most.bit_length())
