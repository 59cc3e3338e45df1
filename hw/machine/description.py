"""The machine description: the only source of sizes for hardware, models and compiler."""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bitwright.hw.elements import ELEMENTS, PLANES
from bitwright.hw.machine.derived_sizes import MULT_BITS, PSUM_LATENCY, Sizes
from bitwright.models.errors import Error, UnknownNameError, unknown_name

__all__ = ["ACT_BITS", "ADDED_LATER", "FABRICS", "MULT_BITS", "PSUM_LATENCY", "Machine",
           "MachineError", "UnknownMachineError", "described"]

ACT_BITS = (4, 8, 16)
FABRICS = ("generic", "ecp5", "ice40")    # chip families with circuits in their own cells
BUILD_ONLY = ("name", "fabric", "table", "lane_mult")  # fields that no program depends on
# Metadata of a field that machines did not have at first. While it has its default it is left out
# of identity and file, so that machines described before it stay what they are.
ADDED_LATER = {"added_later": True}


class MachineError(Error, ValueError):
    """A machine description that cannot be built, or an unknown one. One line, for people."""


class UnknownMachineError(MachineError, UnknownNameError):
    """A machine, a field or an element that is not known. One line, for people."""


def described(default: Any, meaning: str, *, within: tuple[int, int] | None = None,
              among: Iterable[Any] | None = None, power_of_two: bool = False) -> Any:
    """A machine's field with its meaning and what it may be: a number ``within`` limits, a power of
    two, or a value ``among`` some."""
    return dataclasses.field(default=default, metadata={
        "meaning": meaning, "within": within, "among": among, "power_of_two": power_of_two})


def _depth(default: int, meaning: str) -> Any:
    return described(default, meaning, within=(8, 32768), power_of_two=True)


@dataclass(frozen=True, kw_only=True, repr=False)
class Machine(Sizes):
    """One accelerator. All sizes are positive integers; ``*_bits`` are widths in bits.

    The metadata of every field has its meaning and range; ``bitwright hw machines`` lists them.
    """

    name: str = described("custom", "label of the description; not part of the identity")
    rows: int = described(2, "rows of processing elements: tokens at a time", within=(1, 64),
                          power_of_two=True)  # beats of an activation word are addressed by bits
    cols: int = described(2, "columns of processing elements: output channels at a time",
                          within=(1, 64))
    k_tile: int = described(16, "activations one element holds: a power of two of lanes of 4 (of 3 "
                                "for tl2 tables)", within=(3, 256))
    act_bits: int = described(8, "width of signed activations in bits", among=ACT_BITS)
    builders: int = described(2, "lanes filled at once per row; divides k_tile / 4 (k_tile / 3 for "
                                 "tl2)", within=(1, 64))
    pe: str = described("lut", "kind of processing element: lut (tables), serial (power-of-two "
                               "terms), mac (multipliers), or one of a plug-in", among=ELEMENTS)
    table: str = described("lutram", "tables of lut elements: lutram (16-deep LUT RAM, two banks "
                                     "of 8 entries), mux (registers and multiplexers), tl2 (one "
                                     "bank of 14 entries for 3 ternary weights)",
                           among=("lutram", "mux", "tl2"))
    value_bits: int = described(6, "width of a decoded weight of mac elements, signed",
                                within=(2, 9))
    lane_mult: str = described("fabric", "multipliers of mac elements", among=("fabric", "dsp"))
    dequant: str = described("dsp", "how a partial sum meets its group scale: dsp (one multiplier "
                                    "per element), serial (two bits of the scale per step; a "
                                    "channel then takes scale_steps slots)",
                             among=("dsp", "serial"))
    scale_units: int = described(1, "units of serial dequantization that share the nine steps of a "
                                    "scale; a channel then takes at least 9, 5, 3, 2 or 1 slots",
                                 among=(1, 2, 3, 5, 9))  # of the others one would stand idle
    fabric: str = described("generic", "how arithmetic is written: generic is plain HDL; never "
                                       "changes a bit or a cycle",
                            among=FABRICS)
    memory_bits: int = described(32, "width of the AXI4 memory port in bits",
                                 among=(16, 32, 64, 128, 256))
    weight_depth: int = _depth(1024, "weight buffer, in words of weight_word_bits bits")
    act_depth: int = _depth(1024, "activation buffer, in words of rows * builders * 4 * act_bits "
                                  "bits")
    scale_depth: int = _depth(512, "scale buffer, in words of cols * 16 bits")
    psum_depth: int = _depth(64, "partial sums per element")
    out_depth: int = _depth(64, "output buffer per row, in words of drain * 32 bits")
    program_depth: int = _depth(1024, "instructions the program memory holds")
    queue_depth: int = described(8, "instructions that wait at an engine; with 1 nothing is held "
                                    "twice: no job queue in the execute engine, one bank of mux "
                                    "tables", within=(1, 16))
    outstanding: int = described(4, "AXI bursts each DMA engine may have in flight",
                                 within=(1, 16))

    def __repr__(self) -> str:
        return (f"Machine({self.name}: {self.rows} x {self.cols} {self.pe} elements of "
                f"{self.k_tile} activations)")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (isinstance(value, bool) or not isinstance(value, int)):
                raise MachineError(f"machine field {field.name} must be an integer, not {value!r}")
            if field.type is str and not isinstance(value, str):
                raise MachineError(f"machine field {field.name} must be text, not {value!r}")
        for field in dataclasses.fields(self):
            if (known := field.metadata.get("among")) is not None:
                self._among(field.name, tuple(known), getattr(self, field.name))
        for field in dataclasses.fields(self):
            if limits := field.metadata.get("within"):
                self._within(field.name, *limits)
            if field.metadata.get("power_of_two"):
                self._power_of_two(field.name)
        if self.k_tile % self.lane_acts:
            raise MachineError(f"k_tile={self.k_tile} must be a multiple of {self.lane_acts}, the "
                               "activations of one table")
        self._power_of_two("tables")
        if self.tables % self.builders:
            raise MachineError(f"builders={self.builders} must divide the {self.tables} tables of "
                               f"k_tile={self.k_tile}")
        if self.weight_word_bits % self.memory_bits:
            raise MachineError(f"memory_bits={self.memory_bits} must divide the weight word of "
                               f"{self.weight_word_bits} bits; choose a narrower memory or other "
                               "cols, k_tile")
        for name, width in (("builders * 4 * act_bits", self.row_act_bits),
                            ("cols * 16 (scales)", self.cols * 16),
                            ("cols * 32 (outputs)", self.cols * 32)):
            chunks, rest = divmod(width, self.memory_bits)
            if rest or chunks & (chunks - 1):
                raise MachineError(f"memory_bits={self.memory_bits} must divide {name} = {width} "
                                   "a power-of-two times; choose a narrower memory or other "
                                   "cols, k_tile, builders")
        if self.cols % self.drain or self.drain & (self.drain - 1):
            raise MachineError(f"cols={self.cols} must be a multiple of the {self.drain} columns "
                               "drained per cycle")
        if problem := self.element.check(self):
            raise MachineError(f"element {self.pe} does not fit the machine: {problem}")

    @staticmethod
    def _among(name: str, known: tuple[Any, ...], value: Any) -> None:
        if value not in known:
            raise MachineError(f"machine field {name} must be one of "
                               f"{', '.join(map(str, known))}, not {value!r}")

    def _within(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise MachineError(f"machine field {name} must be within {low}…{high}, not {value!r}")

    def _power_of_two(self, name: str) -> None:
        value = getattr(self, name)
        if value & (value - 1):
            raise MachineError(f"{name} must be a power of two, not {value!r}")

    # ---- forms ---------------------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """Fields by name, without those of :data:`ADDED_LATER` that have their default."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)
                if not field.metadata.get("added_later")
                or getattr(self, field.name) != field.default}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_toml(self) -> str:
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in self.to_dict().items())

    def identity(self) -> int:
        """32-bit hash of everything that a program depends on: not of the name, nor of how
        arithmetic is built."""
        fields = {k: v for k, v in self.to_dict().items() if k not in BUILD_ONLY} | {
            "tl2": self.tl2}
        text = json.dumps(fields, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")

    def with_pe(self, pe: str) -> "Machine":
        """This machine with elements of another kind and weight words of the same width: where
        codes of 4 bits are decoded, a word serves a quarter of the activations."""
        if pe not in ELEMENTS:
            raise UnknownMachineError(f"machine field pe must be one of {', '.join(ELEMENTS)}, "
                                      f"not {pe!r}")
        wide = 4 * self.k_tile if self.decodes else self.k_tile
        if ELEMENTS[pe].form == PLANES:
            return self.replace(pe=pe, k_tile=wide)
        k_tile = max(4, wide // 4)
        return self.replace(pe=pe, k_tile=k_tile, builders=min(self.builders, k_tile // 4))

    def replace(self, **changes: Any) -> "Machine":
        self._known(changes)
        return dataclasses.replace(self, **changes)

    @classmethod
    def _known(cls, values: Mapping[str, Any]) -> None:
        names = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in names:
                raise UnknownMachineError(unknown_name("machine field", key, names))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Machine":
        cls._known(values)
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> "Machine":
        try:
            values = json.loads(text)
        except ValueError as error:
            raise MachineError(f"machine description is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise MachineError("machine description must be a JSON object")
        return cls.from_dict(values)

    @classmethod
    def from_toml(cls, text: str) -> "Machine":
        try:
            return cls.from_dict(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise MachineError(f"machine description is not TOML: {error}") from None

