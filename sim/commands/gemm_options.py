"""The options of commands that work on one GEMM: its shape, its activations, the memory."""

import re
from dataclasses import dataclass
from typing import Annotated

import typer

from bitwright.hw.machine.description import ACT_BITS, Machine
from bitwright.models.errors import UnknownNameError, unknown_name
from bitwright.models.quantization.schemes import Scheme, scheme
from bitwright.sim.cycle_model.memory_timing import Memory

__all__ = ["Activations", "GemmShape", "MemoryChoice", "WholeShape", "stored_shape",
           "with_activations"]

ACTIVATIONS = {f"int{bits}": bits for bits in ACT_BITS}
WholeShape = tuple[int, int, int]


def _shape(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,8}x[1-9]\d{0,8}x[1-9]\d{0,8}", text):
        raise typer.BadParameter(f"takes MxKxN, three positive numbers, not {text!r}")
    return text


Activations = Annotated[str | None, typer.Option(
    "--activations", help=f"{', '.join(ACTIVATIONS)}, in place of the machine's own.")]


@dataclass(frozen=True)
class GemmShape:
    """M tokens by K input features by N output channels."""
    gemm: Annotated[str, typer.Option("--gemm", callback=_shape, help="Shape MxKxN.")]

    @property
    def sizes(self) -> WholeShape:
        """M, K and N."""
        m, k, n = map(int, self.gemm.split("x"))
        return m, k, n


@dataclass(frozen=True)
class MemoryChoice:
    """How fast the memory answers."""
    memory_latency: Annotated[int, typer.Option(
        "--memory-latency", help="Memory: cycles to a burst's first beat.")] = 32
    memory_interval: Annotated[int, typer.Option(
        "--memory-interval", help="Memory: cycles per beat.")] = 1

    def read(self) -> Memory:
        """The memory for the cycle model and the simulator."""
        return Memory(latency=self.memory_latency, interval=self.memory_interval)


def with_activations(machine: Machine, name: str | None) -> Machine:
    """``machine`` for activations of the width that is named, or as it is for None.

    ``UnknownNameError`` for an unknown name.
    """
    if name is None:
        return machine
    if name not in ACTIVATIONS:
        raise UnknownNameError(unknown_name("activations", name, ACTIVATIONS))
    return machine.replace(act_bits=ACTIVATIONS[name])


def stored_shape(name: str, k: int, group_size: int | None, asymmetric: bool
                 ) -> tuple[Scheme, int, int]:
    """The scheme ``name``, its group size, and the columns that it stores for ``k`` features.

    ``ValueError`` for an unknown scheme, and for groups or offsets that it does not have.
    """
    found = scheme(name)
    size = found.check(group_size, asymmetric, 8, False)
    return found, size, found.stored_columns(k, size or k) or k
