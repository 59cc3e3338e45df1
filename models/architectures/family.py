"""Describes a transformer family: what its configurations say and what its tensors are called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bitwright.models.architectures.config_fields import ConfigFields
from bitwright.models.architectures.conventions import Conventions
from bitwright.models.architectures.transformer import Names, Transformer

__all__ = ["Conventions", "Family", "GgufForm"]


@dataclass(frozen=True, kw_only=True)
class GgufForm:
    """The form of the family's models in a GGUF file.

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
    read : gives the sizes, which are the other parameters of :class:`Transformer`. It raises
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
        return Transformer(family=self.name, names=self.names, conventions=self.conventions,
                           **self.read(fields))
