"""Computes BitMoD's published cycle counts (HPCA 2025) by their closed form, in exact integers.

It knows no fill, drain, dequantization or start of a transfer, and counts more attention work than
there is; :mod:`bitwright.sim.cycle_model.model` is the model of this project's own machine. A
model is all its linear
layers and two attention operators per layer. Activations have 16 bits.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from bitwright.models.architectures.transformer import Transformer
from bitwright.models.errors import Error

__all__ = ["PUBLISHED", "Estimate", "Operator", "PublishedError", "PublishedMachine",
           "estimate_model", "weight_bits"]

BUFFER_BYTES = 512 * 1024   # one for weights, one for inputs
DRAM_BITS = 256             # per cycle
ACT_BITS = 16
MOST_BITS = 16              # of a weight


class PublishedError(Error, ValueError):
    """A model or weight width that the published model does not cover. One line, for people."""


class Array(NamedTuple):
    rows: int
    cols: int


@dataclass(frozen=True, kw_only=True)
class PublishedMachine:
    """``dot`` products per element and pass; arrays of rows (outputs) by columns (tokens).

    ``serial``: two weight bits per cycle, of any width; else whole 16-bit weights.
    """
    name: str
    serial: bool
    dot: int
    prefill: Array
    generate: Array

    def passes(self, bits: Fraction) -> int:
        """Cycles of one product: half the whole bits of a weight, rounded up."""
        return ceil_div(bits.numerator // bits.denominator, 2) if self.serial else 1


PUBLISHED = {machine.name: machine for machine in (
    PublishedMachine(name="bitmod-hpca25", serial=True, dot=4, prefill=Array(32, 32),
                     generate=Array(64, 16)),
    PublishedMachine(name="bitmod-hpca25-fp16", serial=False, dot=1, prefill=Array(32, 24),
                     generate=Array(64, 12)))}


def ceil_div(value: int, by: int) -> int:
    return -(-value // by)


def weight_bits(machine: PublishedMachine, text: str | None) -> Fraction:
    """``text``, a decimal number, exactly; the machine's own width if None.

    Raises :class:`PublishedError` for a width that the machine does not run."""
    if text is None:
        return Fraction(97, 16) if machine.serial else Fraction(MOST_BITS)
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise PublishedError(f"--weights-bits must be a decimal number like 6.0625, not {text!r}")
    bits = Fraction(text)
    if not machine.serial and bits != MOST_BITS:
        raise PublishedError(f"{machine.name} multiplies weights of {MOST_BITS} bits, not {text}; "
                             "use --machine bitmod-hpca25")
    if not 1 <= bits <= MOST_BITS:
        raise PublishedError(f"--weights-bits must be 1 to {MOST_BITS}, not {text}")
    return bits


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A stationary matrix ``[n, k]`` against ``m`` rows; ``count`` of them in the model.

    ``width`` is that of an input row and ``rows`` the rows moved, which are ``k`` and ``m`` but for
    attention. ``stationary_bits`` is the width of the matrix's entries.
    """
    name: str
    n: int
    k: int
    m: int
    width: Fraction
    rows: int
    stationary_bits: Fraction

    def compute(self, machine: PublishedMachine, array: Array, bits: Fraction) -> int:
        return (ceil_div(self.k, machine.dot) * ceil_div(self.n, array.rows)
                * ceil_div(self.m, array.cols) * machine.passes(bits))

    @property
    def moved_bytes(self) -> int:
        """In and out. One operand comes again for every bufferful of the other, whichever costs
        less: nothing comes twice if either fits its buffer."""
        weights = _row_bytes(self.k, self.stationary_bits) * self.n
        inputs = _row_bytes(self.width, Fraction(ACT_BITS)) * self.rows
        outputs = _row_bytes(self.n, Fraction(ACT_BITS)) * self.rows
        return outputs + min(weights * ceil_div(inputs, BUFFER_BYTES) + inputs,
                             weights + inputs * ceil_div(weights, BUFFER_BYTES))

    @property
    def dram(self) -> int:
        return 8 * self.moved_bytes // DRAM_BITS


def _row_bytes(width: int | Fraction, bits: Fraction) -> int:
    found = width * bits / 8
    return ceil_div(found.numerator, found.denominator)


def operators(model: Transformer, tokens: int, generate: bool, bits: Fraction
              ) -> Iterator[Operator]:
    """Every operator of the model, in order of execution."""
    width = Fraction(model.hidden * model.kv_heads, model.heads)
    attention = _attention(model, tokens, generate, width)
    for linear in model.linears():
        m = 1 if generate else tokens
        if linear.role == "attention_output":
            yield from attention
        yield Operator(name=linear.role, n=linear.n, k=linear.k, m=m, width=Fraction(linear.k),
                       rows=m, stationary_bits=bits)


def _attention(model: Transformer, tokens: int, generate: bool, width: Fraction
               ) -> tuple[Operator, Operator]:
    """Queries, then scores, are the stationary matrix, at the activations' width."""
    heads, hidden, bits = model.heads, model.hidden, Fraction(ACT_BITS)
    every = heads if generate else heads * tokens
    one = 1 if generate else tokens
    return (Operator(name="scores", n=one, k=hidden, m=every, width=width, rows=every,
                     stationary_bits=bits),
            Operator(name="values", n=every, k=tokens, m=one, width=width, rows=one,
                     stationary_bits=bits))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Cycles of one prefill or one generated token; ``rows`` holds like operators together."""
    cycles: int
    compute_cycles: int
    dram_cycles: int
    rows: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        return {"cycles": self.cycles, "compute_cycles": self.compute_cycles,
                "dram_cycles": self.dram_cycles, "operators": list(self.rows)}


def estimate_model(machine: PublishedMachine, model: Transformer, tokens: int, generate: bool,
                   bits: Fraction) -> Estimate:
    """Estimate a model's cycles. ``tokens`` are the tokens of the prefill, or of the context while
    one token is generated.

    An operator takes the longer of its compute and DRAM cycles; the model their sum.
    Raises :class:`PublishedError` for a model without a language-model head, and for mixtures of
    experts.
    """
    if not model.outputs or not model.vocabulary or model.experts > 1:
        raise PublishedError(f"the published model covers dense language models with a head, not "
                             f"{model.family}")
    array = machine.generate if generate else machine.prefill
    rows: list[dict[str, Any]] = []
    for operator, count in Counter(operators(model, tokens, generate, bits)).items():
        compute, dram = operator.compute(machine, array, bits), operator.dram
        rows.append({"name": operator.name, "count": count, "m": operator.m, "k": operator.k,
                     "n": operator.n, "compute_cycles": compute, "dram_cycles": dram,
                     "cycles": max(compute, dram),
                     "bound": "compute" if compute >= dram else "memory"})
    totals = {name: sum(row[name] * row["count"] for row in rows)
              for name in ("cycles", "compute_cycles", "dram_cycles")}
    return Estimate(**totals, rows=tuple(rows))
