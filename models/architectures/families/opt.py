"""OPT: a decoder with learned positions, which start at row 2."""

from typing import Any

from bitwright.models.architectures.config_fields import ConfigFields
from bitwright.models.architectures.family import Conventions, Family
from bitwright.models.architectures.transformer import Names

__all__ = ["OPT"]

FIRST_POSITION = 2

NAMES = Names(
    prefix="model.", embedding="model.decoder.embed_tokens",
    token_table="model.decoder.embed_tokens.weight",
    position_table="model.decoder.embed_positions.weight", layer="model.decoder.layers.{}",
    qkv=tuple(f"self_attn.{part}_proj" for part in "qkv"), attention="self_attn",
    output="self_attn.out_proj", inner=("fc1",), down="fc2",
    norms=("self_attn_layer_norm", "final_layer_norm"),
    final_norm="model.decoder.final_layer_norm")


def read(fields: ConfigFields) -> dict[str, Any]:
    """The sizes of a decoder. A projected embedding and norms behind the residuals are refused."""
    sizes, bias = fields.sizes(ffn="ffn_dim"), fields.flag("enable_bias", True)
    fields.must("word_embed_proj_dim", sizes["hidden"])
    fields.must("do_layer_norm_before", True)
    positions = fields.size("max_position_embeddings", 2048)
    return {**sizes, **fields.vocabulary(), "tied": fields.flag("tie_word_embeddings", True),
            "position_rows": positions + FIRST_POSITION, "positions": positions,
            "qkv_bias": bias, "output_bias": bias, "ffn_bias": bias}


OPT = Family(
    name="opt", class_prefixes=("OPT",), names=NAMES, read=read,
    conventions=Conventions(
        eps=1e-5, eps_key="", activations=("relu", "gelu"), activation_key="activation_function",
        fixed={"layer_norm_elementwise_affine": True, "_remove_final_layer_norm": False}))
