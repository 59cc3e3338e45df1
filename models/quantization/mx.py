"""Quantizes to block-scaled formats: OCP Microscaling (MX) and NVFP4."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.quantization.groups import Groups, Underflow, check_underflow, shift_form
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.rounding import nearest_codes

MX_BLOCK = 32
NVFP4_BLOCK = 16
_E8M0_MIN, _E8M0_MAX = -127, 127
_E4M3_MAX = 448
_FP4_MAX = 6


def floor_log2(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Exponent of the greatest power of two that is at most ``x``, exactly; -1 for 0."""
    return np.frexp(x)[1].astype(np.int64) - 1


def quantize_mx(w: ArrayLike, element: Datatype | str, underflow: Underflow = "error"
                ) -> QuantizedMatrix:
    """OCP MX v1.0: blocks of 32 that share a scale ``2**e``, ``e`` from -127 to 127 (E8M0).

    ``e = floor(log2(max|w|)) - emax``, emax that of the element type; elements are rounded to
    nearest even and saturate (``mxint8`` at ±127). A block's scale is mantissa 1 and a shift
    above the channel's base, so exponents of a channel may span 15: see
    :func:`shift_form`. With ``underflow="flush"`` a block below has the base's
    scale. A block of zeros has shift 0.
    """
    dt = DATATYPES[element] if isinstance(element, str) else element
    groups = Groups.of(w, MX_BLOCK)
    emax = dt.wmax.bit_length() - 1 + dt.exponent
    exponent = np.clip(floor_log2(groups.absmax) - emax, _E8M0_MIN, _E8M0_MAX)
    shift, base = shift_form(exponent, groups.absmax > 0, underflow)
    channel = np.ldexp(1.0, base + dt.exponent)
    target = groups.x / (channel[:, None] * np.ldexp(1.0, shift))[:, :, None]
    if dt.name == "mxint8":
        target = np.maximum(target, -dt.wmax)
    return QuantizedMatrix(
        datatype=dt, codes=groups.in_padding(nearest_codes(target, dt), int(dt.encode(0))),
        group_size=MX_BLOCK, k_logical=groups.k_logical,
        scale_mantissa=np.ones(shift.shape, dtype=np.int16), scale_shift=shift,
        channel_scale=channel)


def quantize_nvfp4(w: ArrayLike, underflow: Underflow = "error") -> QuantizedMatrix:
    """NVFP4: FP4 in blocks of 16, an E4M3 scale per block, an FP32 scale for the tensor.

    ``tensor = float32(max|w| / (6 * 448))``; a block's scale is ``max|block| / 6 / tensor``,
    rounded to E4M3 (nearest even), and its elements are rounded to nearest even under
    ``tensor * scale``. An E4M3 number is a significand below 16 and a shift, which is the form of
    a group scale; what powers of two a channel's scales share goes into its channel scale. A
    scale that E4M3 rounds to 0 underflows; with ``underflow="flush"`` it is the least, 2^-9.
    """
    groups = Groups.of(w, NVFP4_BLOCK)
    fp4, e4m3 = DATATYPES["fp4"], DATATYPES["fp8_e4m3"]
    tensor = float(np.float32(groups.absmax.max() / (_FP4_MAX * _E4M3_MAX)))
    tensor = tensor or 1.0
    ideal = groups.absmax / _FP4_MAX / tensor
    scale = e4m3.decode(nearest_codes(np.ldexp(ideal, -e4m3.exponent), e4m3))
    used = groups.absmax > 0
    check_underflow(used & (scale == 0), underflow,
                    "it is below half of E4M3's least number, 2^-9, in units of the tensor's scale")
    scale = np.where(used, np.maximum(scale, 1), 0)
    target = groups.x / (np.maximum(scale, 1) * np.ldexp(tensor, e4m3.exponent + fp4.exponent)
                         )[:, :, None]
    # Powers of two common to a channel's scales: the lowest bit set in any of them.
    every = np.bitwise_or.reduce(scale, axis=1)
    common = np.where(every > 0, floor_log2((every & -every).astype(np.float64)), 0)
    scale >>= common[:, None]
    shift = np.maximum(floor_log2(scale.astype(np.float64)) - 3, 0)
    return QuantizedMatrix(
        datatype=fp4, codes=groups.in_padding(nearest_codes(target, fp4), 0),
        group_size=NVFP4_BLOCK, k_logical=groups.k_logical,
        scale_mantissa=(scale >> shift).astype(np.int16), scale_shift=shift.astype(np.uint8),
        channel_scale=np.ldexp(tensor, common + e4m3.exponent + fp4.exponent))
