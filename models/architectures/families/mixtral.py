"""Mixtral: Llama with a mixture of experts in every feed-forward."""

from dataclasses import replace
from typing import Any

from bitwright.models.architectures.config_fields import MOST_LAYERS, ConfigError, ConfigFields
from bitwright.models.architectures.families import llama
from bitwright.models.architectures.family import Conventions, Family

__all__ = ["MIXTRAL"]


def read(fields: ConfigFields) -> dict[str, Any]:
    """The sizes of a decoder, and its experts."""
    experts = fields.size("num_local_experts", most=MOST_LAYERS)
    chosen = fields.size("num_experts_per_tok", most=MOST_LAYERS)
    if chosen > experts:
        raise ConfigError(f"config: num_experts_per_tok must be at most num_local_experts "
                          f"{experts}, not {chosen}")
    return {**llama.read(fields), "experts": experts, "chosen": chosen}


MIXTRAL = Family(
    name="mixtral", class_prefixes=("Mixtral",), read=read,
    names=replace(llama.NAMES, router="block_sparse_moe.gate",
                  expert="block_sparse_moe.experts.{}.", inner=("w1", "w3"), down="w2"),
    conventions=Conventions(eps=1e-5, rope_base=1e6))
