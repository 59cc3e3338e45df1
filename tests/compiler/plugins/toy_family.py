"""A plug-in: a family of decoders with learned positions, ReLU, and no biases."""

from bitwright.models.architectures.families import FAMILIES, Conventions, Family
from bitwright.models.architectures.transformer import Names

NAMES = Names(
    embedding="words", token_table="words.weight", position_table="places.weight",
    layer="blocks.{}", qkv=("query", "key", "value"), attention="attention", output="mix",
    inner=("up",), down="down", norms=("norm_1", "norm_2"), final_norm="norm")


def read(fields):
    fields.must("dropout", 0.0)     # refused by name where it has another value
    positions = fields.size("places")
    return {**fields.sizes("width", "inner", "depth", "heads"), **fields.vocabulary(),
            "tied": True, "positions": positions, "position_rows": positions,
            "norm_vectors": 1, "qkv_bias": False, "output_bias": False, "ffn_bias": False}


FAMILIES.register(Family(
    name="toy", class_prefixes=("Toy",), names=NAMES, read=read,
    conventions=Conventions(eps=1e-6, activations=("relu",))))
