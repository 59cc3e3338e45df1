"""Constants and functions of a model, as its configuration and its family's defaults say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.families import ConfigError
from models.shapes import Transformer

__all__ = ["Numerics", "eps_key", "numerics"]


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """
    Parameters
    ----------
    eps : of the norms
    activation : one of :data:`models.functions.ACTIVATIONS`
    rope_base : of rotary positions
    rotary_width : leading entries of a head that are turned; 0 for none
    window : a token reads itself and ``window - 1`` before it; 0 for no limit
    """
    eps: float
    activation: str
    rope_base: float = 10000.0
    rotary_width: int = 0
    window: int = 0


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Keys and defaults. ``activations`` are those known, the default first."""
    eps: float
    eps_key: str = "rms_norm_eps"
    activations: tuple[str, ...] = ("silu", "swish")
    activation_key: str = "hidden_act"
    rope_base: float = 10000.0
    rotary_factor: float = 1.0
    fixed: Mapping[str, Any] | None = None  # keys that may only have this value


_LLAMA = _Family(eps=1e-6)
_FAMILIES = {
    "bert": _Family(eps=1e-12, eps_key="layer_norm_eps", activations=("gelu",),
                    fixed={"position_embedding_type": "absolute"}),
    "llama": _LLAMA, "mistral": _LLAMA,
    "mixtral": _Family(eps=1e-5, rope_base=1e6),
    "qwen2": _Family(eps=1e-6, fixed={"use_sliding_window": False}),
    "bitnet": _Family(eps=1e-5, activations=("relu2",), rope_base=5e5),
    "phi": _Family(eps=1e-5, eps_key="layer_norm_eps", activations=("gelu_new",),
                   rotary_factor=0.5),
    "phi3": _Family(eps=1e-5),
    "gpt2": _Family(eps=1e-5, eps_key="layer_norm_epsilon", activations=("gelu_new",),
                    activation_key="activation_function",
                    fixed={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}),
    "opt": _Family(eps=1e-5, eps_key="", activations=("relu", "gelu"),
                   activation_key="activation_function",
                   fixed={"layer_norm_elementwise_affine": True,
                          "_remove_final_layer_norm": False}),
    "vit": _Family(eps=1e-12, eps_key="layer_norm_eps", activations=("gelu",)),
}
_FUNCTIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "silu": "silu", "swish": "silu",
              "relu": "relu", "relu2": "relu2"}


def eps_key(family: str) -> str:
    """The configuration's key for the norms' epsilon; empty if it has none."""
    return _FAMILIES[family].eps_key


def _number(config: Mapping[str, Any], key: str, default: float, low: float, high: float) -> float:
    value = config.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
        raise ConfigError(f"config: {key} must be a number between {low:g} and {high:g}, not "
                          f"{ascii(value)[:80]}")
    return float(value)


def _activation(family: _Family, config: Mapping[str, Any]) -> str:
    name = config.get(family.activation_key) or family.activations[0]
    if name not in family.activations:
        raise ConfigError(f"config: {family.activation_key} must be "
                          f"{' or '.join(map(repr, family.activations))}, not "
                          f"{ascii(name)[:80]}: no other is implemented")
    return _FUNCTIONS[name]


def _rotary(family: _Family, config: Mapping[str, Any]) -> tuple[float, float]:
    """Base, and the share of a head that is turned; either place that files have them in."""
    found = dict(config)
    for key in ("rope_scaling", "rope_parameters"):
        inner = config.get(key)
        if inner is None:
            continue
        kind = inner.get("rope_type", inner.get("type")) if isinstance(inner, dict) else inner
        if kind not in (None, "default"):
            raise ConfigError(f"config: {key} must be of type 'default', not {ascii(kind)[:80]}: "
                              "no other is implemented")
        found |= inner
    return (_number(found, "rope_theta", family.rope_base, 1, 1e12),
            _number(found, "partial_rotary_factor", family.rotary_factor, 0, 1.0001))


def _window(config: Mapping[str, Any]) -> int:
    if config.get("use_sliding_window") is False or config.get("sliding_window") is None:
        return 0
    value = config["sliding_window"]
    if type(value) is not int or value < 1:
        raise ConfigError(f"config: sliding_window must be a positive integer, not "
                          f"{ascii(value)[:80]}")
    return value


def numerics(model: Transformer, config: Mapping[str, Any]) -> Numerics:
    """Of ``model``, which ``config`` describes. Raises :class:`ConfigError` for a value that is out
    of range, and for a variant that is not implemented."""
    family = _FAMILIES[model.family]
    for key, expected in (family.fixed or {}).items():
        if config.get(key, expected) != expected:
            raise ConfigError(f"config: {key} must be {expected!r}, not "
                              f"{ascii(config[key])[:80]}: no other is implemented")
    found = Numerics(activation=_activation(family, config),
                     eps=_number(config, family.eps_key, family.eps, 0, 1),
                     window=_window(config) if model.causal else 0)
    if not model.rotary:
        return found
    base, share = _rotary(family, config)
    width = int(model.head_dim * share)
    if width < 2 or width % 2:
        raise ConfigError(f"config: the width of a head that rotary positions turn must be even, "
                          f"not {width}")
    return Numerics(eps=found.eps, activation=found.activation, window=found.window,
                    rope_base=base, rotary_width=width)
