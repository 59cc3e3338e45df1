"""Qwen2: Llama with biases at query, key and value."""

from typing import Any

from bitwright.models.architectures.config_fields import ConfigFields
from bitwright.models.architectures.families import llama
from bitwright.models.architectures.family import Conventions, Family

__all__ = ["QWEN2"]


def read(fields: ConfigFields) -> dict[str, Any]:
    """The sizes of a decoder with these biases."""
    return {**llama.read(fields), "qkv_bias": True}


QWEN2 = Family(
    name="qwen2", class_prefixes=("Qwen2",), names=llama.NAMES, read=read,
    conventions=Conventions(eps=1e-6, fixed={"use_sliding_window": False}))
