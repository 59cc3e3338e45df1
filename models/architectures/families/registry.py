"""Lists the known families.

:data:`FAMILIES` is the registry. A plug-in adds a family by ``FAMILIES.register(Family(...))``.
"""

from bitwright.models.architectures.families.bert import BERT
from bitwright.models.architectures.families.bitnet import BITNET
from bitwright.models.architectures.families.gpt2 import GPT2
from bitwright.models.architectures.families.llama import LLAMA
from bitwright.models.architectures.families.mistral import MISTRAL
from bitwright.models.architectures.families.mixtral import MIXTRAL
from bitwright.models.architectures.families.opt import OPT
from bitwright.models.architectures.families.phi import PHI
from bitwright.models.architectures.families.phi3 import PHI3
from bitwright.models.architectures.families.qwen2 import QWEN2
from bitwright.models.architectures.families.vit import VIT
from bitwright.models.architectures.family import Family
from bitwright.models.command_line.markdown import markdown_table
from bitwright.models.plugins.registry import Registry

__all__ = ["FAMILIES", "families_table"]

FAMILIES: Registry[Family] = Registry("model family", (
    BERT, LLAMA, MISTRAL, MIXTRAL, QWEN2, BITNET, PHI, PHI3, GPT2, OPT, VIT))
"""By name, built-in families first."""


def families_table() -> str:
    """The known families as a Markdown table."""
    return markdown_table(("family", "classes", "from a GGUF file"), (
        (f"`{family.name}`", ", ".join(f"`{prefix}…`" for prefix in family.class_prefixes),
         f"`{family.gguf.architecture}`" if family.gguf else "no")
        for family in FAMILIES.values()))
