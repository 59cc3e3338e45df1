"""Computes the frequencies of rotary positions from a configuration."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.models.architectures.config_fields import ConfigError
from bitwright.models.command_line.printable import show

__all__ = ["frequencies", "number"]

Array = NDArray[np.float64]


def number(config: Mapping[str, Any], key: str, default: float | None, low: float, high: float
           ) -> float:
    """A number between ``low`` and ``high``, both left out; :class:`ConfigError` for another."""
    value = config.get(key, default)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
        raise ConfigError(f"config: {key} must be a number between {low:g} and {high:g}, not "
                          f"{show(value)}")
    return float(value)


def _linear(found: Array, scaling: Mapping[str, Any]) -> Array:
    return found / number(scaling, "factor", None, 0, 1e6)


def _llama3(found: Array, scaling: Mapping[str, Any]) -> Array:
    """Waves longer than the old context over ``low`` are slowed by the factor, those shorter than
    it over ``high`` are kept, and those between are mixed of both."""
    slowed = _linear(found, scaling)
    low, high, context = (number(scaling, key, None, 0, 1e9) for key in (
        "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"))
    if high <= low:
        raise ConfigError(f"config: high_freq_factor must be above low_freq_factor {low:g}, not "
                          f"{high:g}")
    share = np.clip((context * found / (2 * np.pi) - low) / (high - low), 0, 1)
    return (1 - share) * slowed + share * found


def _factors(found: Array, scaling: Mapping[str, Any]) -> Array:
    """Each is divided by its own."""
    factors = scaling.get("factors")
    if not isinstance(factors, list) or len(factors) != len(found):
        raise ConfigError(f"config: factors must be a list of {len(found)} numbers")
    return found / [number({"factors": factor}, "factors", None, 0, 1e6) for factor in factors]


_KINDS = {"linear": _linear, "llama3": _llama3, "factors": _factors}


def frequencies(config: Mapping[str, Any], head_dim: int, base: float, share: float
                ) -> tuple[float, ...]:
    """Angle per position of each pair, in a head of ``head_dim`` of which a ``share`` is turned.

    ``base`` and ``share`` are defaults; ``rope_scaling`` or ``rope_parameters`` may change the
    frequencies. Raises :class:`ConfigError`, for kinds that are not implemented too."""
    found = dict(config)
    kind: Any = None
    for key in ("rope_scaling", "rope_parameters"):
        inner = config.get(key)
        if inner is None:
            continue
        kind = inner.get("rope_type", inner.get("type")) if isinstance(inner, dict) else inner
        if kind not in (None, "default", *_KINDS):
            raise ConfigError(f"config: type of {key} must be one of default, "
                              f"{', '.join(_KINDS)}, not {show(kind)}: no other is "
                              "implemented")
        found |= inner
    width = int(head_dim * number(found, "partial_rotary_factor", share, 0, 1.0001))
    if width < 2 or width % 2:
        raise ConfigError("config: the width of a head that rotary positions turn must be even, "
                          f"not {width}")
    half = width // 2
    plain = number(found, "rope_theta", base, 1, 1e12) ** (-np.arange(half) / half)
    scale = _KINDS.get(str(kind))
    result = plain if scale is None else scale(plain, found)
    return tuple(result.tolist())
