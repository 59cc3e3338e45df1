"""Quantizes by the name of a scheme, and holds the parts that schemes share."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES, datatype
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.errors import UnknownNameError
from bitwright.models.plugins.registry import Registry
from bitwright.models.quantization import absmedian as ternary
from bitwright.models.quantization import bcq, bitmod, mx, outliers
from bitwright.models.quantization.groups import ScaleUnderflow, Underflow
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix, row_blocks
from bitwright.models.quantization.rounding import (
    finite,
    nearest_codes,
    pad_groups,
    quantize_activations,
    round_half_even,
)
from bitwright.models.quantization.rtn import CLIP_RATIOS, quantize_weights

__all__ = ["SCHEMES", "Scheme", "Underflow", "nearest_codes", "pad_groups", "quantize",
           "quantize_activations", "quantize_weights", "round_half_even", "scheme"]

DEFAULT_GROUP = 64


@dataclass(frozen=True)
class _Request:
    """The checked arguments of :func:`quantize`."""
    w: ArrayLike
    group_size: int
    asymmetric: bool
    scale_bits: int
    clip_search: bool
    underflow: Underflow

    @property
    def ratios(self) -> tuple[float, ...]:
        return CLIP_RATIOS if self.clip_search else (1.0,)


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A way to quantize.

    Parameters
    ----------
    name : str
    datatype : Datatype or Mixture
        That of the matrices it gives.
    summary : str
    block : int
        The only group size it has; 0 if any will do.
    group_size : int
        Group size when none is asked for.
    fixed_scale : str
        Why neither ``scale_bits`` nor ``clip_search`` apply; empty if both do.
    has_clip_search, has_asymmetric : bool
    has_outliers : bool
        Some K-groups are stored as two: see :meth:`stored_columns`.
    across : bool
        A channel's codes depend on the other channels.
    """

    name: str
    datatype: Datatype | Mixture
    summary: str
    run: Callable[[_Request], QuantizedMatrix]
    block: int = 0
    group_size: int = DEFAULT_GROUP
    fixed_scale: str = ""
    has_clip_search: bool = True
    has_asymmetric: bool = False
    has_outliers: bool = False
    across: bool = False

    def stored_columns(self, k: int, group_size: int) -> int | None:
        """Columns of the matrix that ``k`` input features give, in groups of ``group_size``;
        None if they are the features in their order, without ``columns``."""
        if not self.has_outliers:
            return None
        groups = -(-k // group_size)
        return (groups + outliers.outlier_count(groups)) * group_size

    def check(self, group_size: int | None, asymmetric: bool, scale_bits: int,
              clip_search: bool) -> int:
        """The group size to use. ``ValueError`` says why a combination is impossible."""
        if self.block and group_size not in (None, self.block):
            raise ValueError(f"group size of {self.name} must be {self.block}, which is part of "
                             f"the format, not {group_size!r}; leave it out")
        if asymmetric and not self.has_asymmetric:
            raise ValueError(f"asymmetric quantization needs int2...int8, not {self.name}")
        if self.fixed_scale and scale_bits != 8:
            raise ValueError(f"scale bits of {self.name} must stay 8: {self.fixed_scale}")
        if clip_search and (self.fixed_scale or not self.has_clip_search):
            reason = self.fixed_scale or "it searches for its scales in a way of its own"
            raise ValueError(f"{self.name} has no clip search: {reason}")
        return self.block or (self.group_size if group_size is None else group_size)


def _mx(name: str, element: str) -> Scheme:
    return Scheme(
        name=name, datatype=DATATYPES[element], block=mx.MX_BLOCK,
        summary=f"OCP MX: {element} in blocks of 32, E8M0 scales",
        fixed_scale="its scales are powers of two",
        run=lambda r: mx.quantize_mx(r.w, element, r.underflow))


def _bitmod(name: str) -> Scheme:
    return Scheme(
        name=name, datatype=MIXTURES[name], group_size=128,
        summary="BitMoD's Algorithm 1, 8-bit scales of the second level",
        fixed_scale="it is BitMoD's algorithm to the letter",
        run=lambda r: bitmod.algorithm_1(r.w, name, r.group_size))


def _bitmod_mse(name: str) -> Scheme:
    return Scheme(
        name=f"{name}_mse", datatype=MIXTURES[name], group_size=128,
        summary=f"{name}, each group's choice by squared error after scale rounding",
        run=lambda r: bitmod.quantize_mixture(r.w, name, r.group_size, r.scale_bits, r.ratios))


def _outliers(name: str, base: str) -> Scheme:
    return Scheme(
        name=name, datatype=datatype(base), group_size=128, has_outliers=True, across=True,
        summary="the worst 1/16 of the K-groups in 8 bits",
        run=lambda r: outliers.quantize_outliers(
            r.w, base, r.group_size, scale_bits=r.scale_bits, clip_search=r.clip_search))


SCHEMES: Registry[Scheme] = Registry("scheme", (
    _mx("mxfp4", "fp4"),
    _mx("mxfp6_e3m2", "fp6_e3m2"),
    _mx("mxfp6_e2m3", "fp6_e2m3"),
    _mx("mxfp8_e4m3", "fp8_e4m3"),
    _mx("mxfp8_e5m2", "fp8_e5m2"),
    _mx("mxint8", "mxint8"),
    Scheme(name="nvfp4", datatype=DATATYPES["fp4"], block=mx.NVFP4_BLOCK,
           summary="FP4 in blocks of 16, E4M3 scales, an FP32 scale per tensor",
           fixed_scale="its scales are E4M3 numbers", across=True,
           run=lambda r: mx.quantize_nvfp4(r.w, r.underflow)),
    Scheme(name="ternary_absmedian", datatype=DATATYPES["ternary"],
           summary="ternary, scales by the median of magnitudes", has_clip_search=False,
           run=lambda r: ternary.quantize_absmedian(r.w, r.group_size, r.scale_bits)),
    _bitmod("bitmod4"),
    _bitmod("bitmod3"),
    _bitmod_mse("bitmod4"),
    _bitmod_mse("bitmod3"),
    _outliers("int4_o8", "int4"),
    _outliers("fp4mix_o8", "fp4mix_o8"),
    _outliers("fp3mix_o8", "fp3mix_o8"),
))
"""Schemes that are more than rounding to a datatype's nearest values."""


def scheme(name: str) -> Scheme:
    """The scheme called ``name``: one of :data:`SCHEMES`, or round to nearest (``bcq*``:
    alternating optimization) for a datatype or a ``.toml`` file. ``ValueError`` for others."""
    if name in SCHEMES:
        return SCHEMES[name]
    try:
        found = datatype(name)
    except ValueError as error:
        if name.endswith(".toml"):
            raise
        known = ", ".join(dict.fromkeys((*DATATYPES, *SCHEMES)))
        raise UnknownNameError(f"weights must be one of {known}, or a .toml file, not {name!r}"
                               ) from error
    if found.name in SCHEMES and name.endswith(".toml"):
        raise ValueError(f"name in {name} must be a new one, not {found.name!r}")
    if isinstance(found, Mixture):
        return Scheme(name=name, datatype=found, group_size=128, summary="mixture",
                      run=lambda r: bitmod.quantize_mixture(
                          r.w, found, r.group_size, r.scale_bits, r.ratios))
    if found.plane_scaled:
        return Scheme(name=name, datatype=found, summary="alternating optimization",
                      has_clip_search=False, group_size=128,
                      run=lambda r: bcq.quantize_bcq(r.w, found, r.group_size, r.scale_bits))
    return Scheme(name=name, datatype=found, summary="round to nearest",
                  has_asymmetric=found.has_offset_form,
                  run=lambda r: quantize_weights(r.w, found, r.group_size, r.asymmetric,
                                                 r.scale_bits, r.clip_search))


def quantize(w: ArrayLike, name: str | Scheme, group_size: int | None = None,
             asymmetric: bool = False, scale_bits: int = 8, clip_search: bool = False,
             underflow: Underflow = "error") -> QuantizedMatrix:
    """``w`` [N, K] by a scheme, or by the scheme, mixture, datatype or ``.toml`` file of a name.

    Parameters
    ----------
    group_size : int or None
        Columns per group, 0 for the whole channel. None: the scheme's own (MX 32, NVFP4 16,
        mixtures and ``bcq*`` 128, others 64). MX and NVFP4 have no other.
    asymmetric : bool
        An offset for every group; ``int2`` to ``int8`` only.
    scale_bits : int
        Bits of a group scale's mantissa, 1 to 11; 8 where the format settles it.
    clip_search : bool
        Choose each group's range by squared error.
    underflow : "error" or "flush"
        What happens to scales of MX and NVFP4 too small for their form.

    ``ValueError`` for weights that are not finite, with the position of the first, and for what
    does not go together, with the reason.
    """
    found = scheme(name) if isinstance(name, str) else name
    size = found.check(group_size, asymmetric, scale_bits, clip_search)
    request = _Request(w, size, asymmetric, scale_bits, clip_search, underflow)
    return found.run(request) if found.across else _by_parts(found, request)


def _by_parts(found: Scheme, request: _Request) -> QuantizedMatrix:
    """Some channels at a time. Errors name channels of the whole matrix."""
    w = np.asarray(request.w)
    if w.ndim != 2 or not w.size:
        return found.run(request)
    parts, lost = [], []
    for part in row_blocks(*w.shape):
        try:
            parts.append(found.run(replace(request, w=finite("weights", w[part], part.start))))
        except ScaleUnderflow as error:
            lost.append((part.start + error.channel, error))
    if lost:
        channel, first = lost[0]
        raise ScaleUnderflow(channel, first.group, sum(each.count for _, each in lost), first.why)
    return QuantizedMatrix.join(parts)
