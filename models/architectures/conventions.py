"""Says by which keys and defaults a family's configurations give numbers and functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Conventions"]


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """The configuration's keys and defaults for a family's numbers and functions.

    Parameters
    ----------
    eps, eps_key : epsilon of the norms, and its key; an empty key for a fixed epsilon
    activations : names of activation functions that are read, the default first
    activation_key : its key
    rope_base : base of the rotary frequencies
    rotary_factor : share of a head that rotary positions turn
    fixed : keys that may have this value only
    """
    eps: float
    eps_key: str = "rms_norm_eps"
    activations: tuple[str, ...] = ("silu", "swish")
    activation_key: str = "hidden_act"
    rope_base: float = 10000.0
    rotary_factor: float = 1.0
    fixed: Mapping[str, Any] | None = None
