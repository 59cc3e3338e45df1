"""Phi: attention and feed-forward side by side behind one norm."""

from dataclasses import replace
from typing import Any

from bitwright.models.architectures.config_fields import ConfigFields
from bitwright.models.architectures.families import llama
from bitwright.models.architectures.family import Conventions, Family

__all__ = ["PHI"]


def read(fields: ConfigFields) -> dict[str, Any]:
    """The sizes of a decoder without a gate. Norms of queries and keys are refused."""
    fields.must("qk_layernorm", False)
    return {**fields.vocabulary(), **fields.sizes(), "tied": fields.flag("tie_word_embeddings"),
            "positions": fields.size("max_position_embeddings"), "rotary": True,
            "head_bias": True}


PHI = Family(
    name="phi", class_prefixes=("Phi",), read=read,
    names=replace(llama.NAMES, output="self_attn.dense", inner=("mlp.fc1",), down="mlp.fc2",
                  norms=("input_layernorm",), final_norm="model.final_layernorm"),
    conventions=Conventions(eps=1e-5, eps_key="layer_norm_eps", activations=("gelu_new",),
                            rotary_factor=0.5))
