"""Phi-3: Llama with query, key and value in one matrix, and gate and up in another."""

from dataclasses import replace

from bitwright.models.architectures.families import llama
from bitwright.models.architectures.family import Conventions, Family

__all__ = ["PHI3"]

PHI3 = Family(
    name="phi3", class_prefixes=("Phi3",), read=llama.read,
    names=replace(llama.NAMES, qkv=("self_attn.qkv_proj",), inner=("mlp.gate_up_proj",)),
    conventions=Conventions(eps=1e-5))
