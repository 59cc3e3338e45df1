"""Mistral: Llama, with a window of attention where the configuration has one."""

from bitwright.models.architectures.families import llama
from bitwright.models.architectures.family import Conventions, Family

__all__ = ["MISTRAL"]

MISTRAL = Family(name="mistral", class_prefixes=("Mistral",), names=llama.NAMES, read=llama.read,
                 conventions=Conventions(eps=1e-6))
