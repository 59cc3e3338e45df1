"""The transformer families that are built in, one file each, and the reading of configurations."""

from bitwright.models.architectures.config_fields import ConfigError
from bitwright.models.architectures.families.bert import BERT
from bitwright.models.architectures.families.bitnet import BITNET
from bitwright.models.architectures.families.configuration import (
    EXAMPLES,
    families_table,
    read_config,
    transformer,
)
from bitwright.models.architectures.families.gpt2 import GPT2
from bitwright.models.architectures.families.llama import LLAMA
from bitwright.models.architectures.families.mistral import MISTRAL
from bitwright.models.architectures.families.mixtral import MIXTRAL
from bitwright.models.architectures.families.opt import OPT
from bitwright.models.architectures.families.phi import PHI
from bitwright.models.architectures.families.phi3 import PHI3
from bitwright.models.architectures.families.qwen2 import QWEN2
from bitwright.models.architectures.families.vit import VIT
from bitwright.models.architectures.family import FAMILIES, Conventions, Family, GgufForm

__all__ = ["EXAMPLES", "FAMILIES", "ConfigError", "Conventions", "Family", "GgufForm",
           "families_table", "read_config", "transformer"]

for family in (BERT, LLAMA, MISTRAL, MIXTRAL, QWEN2, BITNET, PHI, PHI3, GPT2, OPT, VIT):
    FAMILIES.register(family)
