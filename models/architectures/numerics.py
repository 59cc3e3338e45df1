"""Reads a model's constants and functions from its configuration and its family's defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitwright.models.architectures.config_fields import ConfigError
from bitwright.models.architectures.conventions import Conventions
from bitwright.models.architectures.rotary import frequencies, number
from bitwright.models.architectures.transformer import Transformer
from bitwright.models.command_line.printable import show

__all__ = ["Numerics", "numerics"]


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """
    Parameters
    ----------
    eps : of the norms
    activation : one of :data:`bitwright.models.nonlinear.floating_point.ACTIVATIONS`
    frequencies : angle per position of each rotary pair, which are the leading entries of a head
    window : a token reads itself and ``window - 1`` before it; 0 for no limit
    """
    eps: float
    activation: str
    frequencies: tuple[float, ...] = ()
    window: int = 0


_FUNCTIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "silu": "silu", "swish": "silu",
              "relu": "relu", "relu2": "relu2"}


def _activation(family: Conventions, config: Mapping[str, Any]) -> str:
    name = config.get(family.activation_key) or family.activations[0]
    if name not in family.activations:
        raise ConfigError(f"config: {family.activation_key} must be "
                          f"{' or '.join(map(repr, family.activations))}, not "
                          f"{show(name)}: no other is implemented")
    return _FUNCTIONS[name]


def _window(config: Mapping[str, Any]) -> int:
    if config.get("use_sliding_window") is False or config.get("sliding_window") is None:
        return 0
    value = config["sliding_window"]
    if type(value) is not int or value < 1:
        raise ConfigError(f"config: sliding_window must be a positive integer, not "
                          f"{show(value)}")
    return value


def numerics(model: Transformer, config: Mapping[str, Any]) -> Numerics:
    """Return the numbers and functions of ``model``, which ``config`` describes. Raises
    :class:`ConfigError` for a value that is out of range, and for a variant that is not
    implemented."""
    family = model.conventions
    for key, expected in (family.fixed or {}).items():
        if config.get(key, expected) != expected:
            raise ConfigError(f"config: {key} must be {expected!r}, not "
                              f"{show(config[key])}: no other is implemented")
    return Numerics(
        activation=_activation(family, config),
        eps=number(config, family.eps_key, family.eps, 0, 1),
        window=_window(config) if model.causal else 0,
        frequencies=frequencies(config, model.head_dim, family.rope_base, family.rotary_factor)
        if model.rotary else ())
