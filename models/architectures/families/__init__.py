"""Lists the transformer families, one file each, and reads their configurations."""

from bitwright.models.architectures.config_fields import ConfigError
from bitwright.models.architectures.conventions import Conventions
from bitwright.models.architectures.families.configuration import (
    EXAMPLES,
    read_config,
    transformer,
)
from bitwright.models.architectures.families.registry import FAMILIES, families_table
from bitwright.models.architectures.family import Family, GgufForm

__all__ = ["EXAMPLES", "FAMILIES", "ConfigError", "Conventions", "Family", "GgufForm",
           "families_table", "read_config", "transformer"]
