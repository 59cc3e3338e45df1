"""Constants and functions of a model, as its configuration and its family's defaults say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitwright.models.architectures.families import ConfigError, shown
from bitwright.models.architectures.rotary import frequencies, number
from bitwright.models.architectures.transformer import Transformer

__all__ = ["Numerics", "eps_key", "numerics"]


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


def _activation(family: _Family, config: Mapping[str, Any]) -> str:
    name = config.get(family.activation_key) or family.activations[0]
    if name not in family.activations:
        raise ConfigError(f"config: {family.activation_key} must be "
                          f"{' or '.join(map(repr, family.activations))}, not "
                          f"{shown(name)}: no other is implemented")
    return _FUNCTIONS[name]


def _window(config: Mapping[str, Any]) -> int:
    if config.get("use_sliding_window") is False or config.get("sliding_window") is None:
        return 0
    value = config["sliding_window"]
    if type(value) is not int or value < 1:
        raise ConfigError(f"config: sliding_window must be a positive integer, not "
                          f"{shown(value)}")
    return value


def numerics(model: Transformer, config: Mapping[str, Any]) -> Numerics:
    """Of ``model``, which ``config`` describes. Raises :class:`ConfigError` for a value that is out
    of range, and for a variant that is not implemented."""
    family = _FAMILIES[model.family]
    for key, expected in (family.fixed or {}).items():
        if config.get(key, expected) != expected:
            raise ConfigError(f"config: {key} must be {expected!r}, not "
                              f"{shown(config[key])}: no other is implemented")
    return Numerics(
        activation=_activation(family, config),
        eps=number(config, family.eps_key, family.eps, 0, 1),
        window=_window(config) if model.causal else 0,
        frequencies=frequencies(config, model.head_dim, family.rope_base, family.rotary_factor)
        if model.rotary else ())
