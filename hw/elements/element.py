"""The protocol of a processing element: what machine, packer, models and circuits ask of it."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

__all__ = ["CODES", "PLANES", "Element", "Fields", "MachineSizes", "loaded"]

PLANES, CODES = "planes", "codes"   # the forms of weights

Fields = Mapping[str, Any]          # fields of a machine that differ from the defaults


class MachineSizes(Protocol):
    """What an element may ask of the machine that it is part of."""

    @property
    def k_tile(self) -> int: ...
    @property
    def act_bits(self) -> int: ...
    @property
    def value_bits(self) -> int: ...
    @property
    def table(self) -> str: ...
    @property
    def lane_mult(self) -> str: ...
    @property
    def queue_depth(self) -> int: ...
    @property
    def tables(self) -> int: ...
    @property
    def levels(self) -> int: ...
    @property
    def sigma_bits(self) -> int: ...
    @property
    def acc_bits(self) -> int: ...
    @property
    def dequant(self) -> str: ...
    @property
    def scale_digits(self) -> int: ...


class Element(Protocol):
    """One kind of processing element. Subclass it, and register an instance.

    The defaults are those of an element that multiplies decoded weights by activations that it
    holds in registers. An element that overrides :attr:`form` by ``planes`` is fed with tables of
    sums of activations, as ``lut`` is.

    Attributes
    ----------
    name : value of the machine field ``pe``
    form : ``codes``: weights rest as codes of 4 bits, which the decoder of each column looks up;
        ``planes``: weights rest as bit-planes, which the element takes as they are
    circuit : ``module:Class`` of the Amaranth component. It is imported when hardware is made.
    codec : ``module:Class`` of the codec, see :class:`bitwright.hw.packing.element_codes.Codec`.
        It is imported when weights are packed.
    samples : small machines, as fields, for random comparisons of RTL, golden model and cycle model
    benches : machines for the cocotb regression
    syntheses : machines that the resource model is fitted to, by chip family
    densities : label and fields of the machines whose elements are measured alone, on ECP5
    """

    name: str
    form: str = CODES
    circuit: str
    codec: str
    samples: Sequence[Fields] = ()
    benches: Sequence[Fields] = ()
    syntheses: Mapping[str, Sequence[Fields]] = {}
    densities: Sequence[tuple[str, Fields]] = ()

    # ---- sizes --------------------------------------------------------------------------
    def check(self, machine: MachineSizes) -> str | None:
        """Return in one line why the element cannot be built in ``machine``, or None."""
        return None

    def lanes(self, machine: MachineSizes) -> int:
        """Return the lanes of a slice."""
        return machine.k_tile

    @abstractmethod
    def lane_bits(self, machine: MachineSizes) -> int:
        """Return the bits of a slice per lane."""

    @abstractmethod
    def plus(self, machine: MachineSizes) -> int:
        """Return what a lane takes where each of its weights is +1."""

    @abstractmethod
    def acc_bits(self, machine: MachineSizes) -> int:
        """Return the width of a digit's sum, which no weight and no activation may exceed."""

    def entry_bits(self, machine: MachineSizes) -> int:
        """Return the bits of a decode table's entry in memory: 4, 8 or 16."""
        return 8 if self.lane_bits(machine) <= 8 else 16

    # ---- latencies ----------------------------------------------------------------------
    @abstractmethod
    def sum_latency(self, machine: MachineSizes) -> int:
        """Return the cycles from a digit's last slice to its sum in the multiplier's register."""

    def scale_latency(self, machine: MachineSizes) -> int:
        """Return the cycles from a digit's sum to its product with the scale."""
        return machine.scale_digits if machine.dequant == "serial" else 2

    # ---- filling ------------------------------------------------------------------------
    def lane_acts(self, machine: MachineSizes) -> int:
        """Return the activations that one builder reads at once."""
        return 4

    def fill_entries(self, machine: MachineSizes) -> int:
        """Return the cycles of a fill step: one per entry of a table."""
        return 1

    def banks(self, machine: MachineSizes) -> int:
        """Return the banks that are filled in turn."""
        return 1

    def fill_hidden(self, machine: MachineSizes) -> bool:
        """Tell whether the next K-tile is filled while slices of this one are summed."""
        return True

    # ---- resources ----------------------------------------------------------------------
    def resource_kind(self, machine: MachineSizes) -> str:
        """Return the name under which the resource model fits elements that differ in sizes
        alone."""
        return self.name

    def weight_bits(self, machine: MachineSizes) -> int:
        """Return the weight bits that a lane multiplies at once."""
        return 1

    def multipliers(self, machine: MachineSizes) -> int:
        """Return the hardware multipliers of one element, that of the scale left out."""
        return 0

    # ---- people -------------------------------------------------------------------------
    @abstractmethod
    def summary(self, machine: MachineSizes) -> str:
        """Return in some words what one element is made of."""


def loaded(reference: str) -> Any:
    """Import the module of ``module:name`` and return the object of that name."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
