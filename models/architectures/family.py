"""Describes a transformer family: what its configurations say and what its tensors are called.

:data:`FAMILIES` is the registry. A plug-in adds a family by ``FAMILIES.register(Family(...))``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bitwright.models.architectures.config_fields import ConfigFields
from bitwright.models.architectures.transformer import Names, Transformer
from bitwright.models.plugins.registry import Registry

__all__ = ["FAMILIES", "Conventions", "Family", "GgufForm"]


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


@dataclass(frozen=True, kw_only=True)
class GgufForm:
    """How a GGUF file holds a model of the family.

    Parameters
    ----------
    architecture : value of ``general.architecture``, and prefix of the metadata's keys
    names : what the file calls the model's parts
    keys : metadata key without the prefix, by configuration key
    config : fields of the configuration that the file leaves unsaid
    """
    architecture: str
    names: Names
    keys: Mapping[str, str]
    config: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A transformer family.

    Parameters
    ----------
    name : ``model_type`` of its configurations
    class_prefixes : names under ``architectures``, without suffixes such as ``ForCausalLM``
    names : what a checkpoint calls the model's parts
    read : gives the parameters of :class:`Transformer` but ``family`` and ``names``. It raises
        :class:`ConfigError` for a value that is missing, out of range or not implemented
    conventions : keys and defaults of numbers and functions
    optional : parts, as fields of :class:`Transformer`, that a checkpoint may leave out
    gguf : how a GGUF file holds the model; None if it is not read from one
    """
    name: str
    class_prefixes: tuple[str, ...]
    names: Names
    read: Callable[[ConfigFields], Mapping[str, Any]]
    conventions: Conventions
    optional: tuple[str, ...] = ()
    gguf: GgufForm | None = None

    def transformer(self, fields: ConfigFields) -> Transformer:
        """The model that the configuration describes. Raises :class:`ConfigError`."""
        return Transformer(family=self.name, names=self.names, **self.read(fields))


FAMILIES: Registry[Family] = Registry("model family")
"""By name, built-in families first."""
