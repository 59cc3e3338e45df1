"""Parses the variants that the quality survey measures, and counts their storage."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.rounding import finite, pad_groups, round_half_even
from bitwright.models.quantization.schemes import SCHEMES, quantize, scheme

__all__ = ["TEXTBOOK", "Variant", "bits_per_weight", "textbook", "variant"]

TEXTBOOK = tuple(f"rtn{bits}" for bits in range(2, 9))
CHANNEL_SCALE_BITS, OFFSET_BITS, SHIFT_BITS, SELECT_BITS = 32, 16, 4, 2


@dataclass(frozen=True)
class Variant:
    """A scheme of :func:`scheme`, or ``rtn2``…``rtn8`` (:func:`textbook`), and its
    options. ``group_size`` is settled; 0 is the whole channel."""
    name: str
    group_size: int
    asymmetric: bool = False
    clip_search: bool = False

    @property
    def label(self) -> str:
        """Return the variant's name on the command line: ``int4``, ``int4:asym``, ``int4:clip``."""
        return (self.name + (":asym" if self.asymmetric else "")
                + (":clip" if self.clip_search else ""))

    def dequantized(self, w: ArrayLike) -> tuple[NDArray[np.float64], float]:
        """Weights [N, K] after quantization, and bits per weight."""
        if self.name in TEXTBOOK:
            w = finite("weights", w)
            return textbook(w, int(self.name[3:]), self.group_size), _textbook_bits(
                int(self.name[3:]), self.group_size or w.shape[1])
        found = quantize(w, self.name, self.group_size, self.asymmetric,
                         clip_search=self.clip_search)
        return found.dequantize(), bits_per_weight(found, self.name)


def variant(text: str, group_size: int | None = None) -> Variant:
    """The variant called ``NAME``, ``NAME:asym`` or ``NAME:clip``; ``group_size`` None is the
    scheme's own. ``ValueError`` for what there is not."""
    name, *options = text.split(":")
    if bad := [option for option in options if option not in ("asym", "clip")]:
        raise ValueError(f"option of {name} must be asym or clip, not {bad[0]!r}")
    asymmetric, clip_search = "asym" in options, "clip" in options
    if name in TEXTBOOK:
        if options:
            raise ValueError(f"{name} has no options, not {options[0]!r}")
        return Variant(name, 64 if group_size is None else group_size)
    size = scheme(name).check(group_size, asymmetric, 8, clip_search)
    return Variant(name, size, asymmetric, clip_search)


def textbook(w: NDArray[np.float64], bits: int, group_size: int) -> NDArray[np.float64]:
    """Round to nearest, ties to even, with unrounded scales ``max|w| / (2**(bits-1) - 1)`` per
    group: what most papers call RTN. For comparison; no array stores such scales."""
    size, top = group_size or w.shape[1], 2 ** (bits - 1) - 1
    grouped = pad_groups(w, size).reshape(len(w), -1, size)
    scale = np.abs(grouped).max(axis=2, keepdims=True) / top
    scale[scale == 0] = 1
    rounded = np.clip(round_half_even(grouped / scale), -top - 1, top) * scale
    result: NDArray[np.float64] = rounded.reshape(len(w), -1)[:, :w.shape[1]]
    return result


def _textbook_bits(bits: int, group_size: int) -> float:
    return bits + 32 / group_size


def bits_per_weight(qm: QuantizedMatrix, name: str) -> float:
    """Bits that ``qm`` by scheme ``name`` takes per weight, padding left out: codes, 8-bit group
    scales, 16-bit offsets, 2-bit selects, 4-bit plane shifts, and a 32-bit scale per channel
    (per matrix for schemes of fixed blocks, which have none)."""
    columns = np.count_nonzero(qm.features >= 0)
    per_group = (8 if qm.groups > 1 or name in SCHEMES and SCHEMES[name].block else 0)
    per_group += OFFSET_BITS if qm.asymmetric else 0
    per_group += SELECT_BITS if qm.select is not None else 0
    per_group += SHIFT_BITS * qm.datatype.planes if qm.plane_shift is not None else 0
    blocks = name in SCHEMES and SCHEMES[name].block > 0
    channel = CHANNEL_SCALE_BITS / qm.n if blocks else CHANNEL_SCALE_BITS
    total = qm.datatype.bits * columns + per_group * qm.groups + channel
    return float(total / qm.k_logical)
