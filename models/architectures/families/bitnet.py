"""BitNet b1.58: Llama with norms inside the blocks and squared ReLU."""

from dataclasses import replace
from typing import Any

from bitwright.models.architectures.config_fields import ConfigFields
from bitwright.models.architectures.families import llama
from bitwright.models.architectures.family import Conventions, Family

__all__ = ["BITNET"]


def read(fields: ConfigFields) -> dict[str, Any]:
    """The sizes of a decoder with these norms. The head is tied unless the configuration says
    otherwise."""
    return {**llama.read(fields, tied=True), "sub_norms": True}


BITNET = Family(
    name="bitnet", class_prefixes=("BitNet", "Bitnet"), read=read,
    names=replace(llama.NAMES, sub_norms=("self_attn.attn_sub_norm", "mlp.ffn_sub_norm")),
    conventions=Conventions(eps=1e-5, activations=("relu2",), rope_base=5e5))
