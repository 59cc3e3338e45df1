"""GPT-2: a decoder with learned positions, its matrices stored as [inputs, outputs]."""

from typing import Any

from bitwright.models.architectures.config_fields import ConfigFields
from bitwright.models.architectures.family import Conventions, Family
from bitwright.models.architectures.transformer import Names

__all__ = ["GPT2"]

NAMES = Names(
    prefix="transformer.", unused=("transformer.h.*.attn.bias", "transformer.h.*.attn.masked_bias"),
    embedding="transformer.wte", token_table="transformer.wte.weight",
    position_table="transformer.wpe.weight", layer="transformer.h.{}", qkv=("attn.c_attn",),
    attention="attn", output="attn.c_proj", inner=("mlp.c_fc",), down="mlp.c_proj",
    norms=("ln_1", "ln_2"), final_norm="transformer.ln_f", transposed=True)


def read(fields: ConfigFields) -> dict[str, Any]:
    """The sizes of a decoder. The feed-forward is four times as wide as the model if the
    configuration does not say."""
    sizes = fields.sizes("n_embd", "", "n_layer", "n_head")
    positions = fields.size("n_positions")
    return {**sizes, "ffn": fields.size("n_inner", 4 * sizes["hidden"]), **fields.vocabulary(),
            "tied": fields.flag("tie_word_embeddings", True), "position_rows": positions,
            "positions": positions}


GPT2 = Family(
    name="gpt2", class_prefixes=("GPT2",), names=NAMES, read=read,
    conventions=Conventions(
        eps=1e-5, eps_key="layer_norm_epsilon", activations=("gelu_new",),
        activation_key="activation_function",
        fixed={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}))
