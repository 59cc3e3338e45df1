"""Llama, and the reader of the families that are built like it."""

from typing import Any

from bitwright.models.architectures.config_fields import ConfigFields
from bitwright.models.architectures.family import Conventions, Family, GgufForm
from bitwright.models.architectures.transformer import Names

__all__ = ["LLAMA", "NAMES", "read"]

NAMES = Names(
    prefix="model.", unused=("model.*rotary_emb.inv_freq",),
    embedding="model.embed_tokens", token_table="model.embed_tokens.weight",
    layer="model.layers.{}", qkv=tuple(f"self_attn.{part}_proj" for part in "qkv"),
    attention="self_attn", output="self_attn.o_proj",
    inner=("mlp.gate_proj", "mlp.up_proj"), down="mlp.down_proj",
    norms=("input_layernorm", "post_attention_layernorm"), final_norm="model.norm")

GGUF_NAMES = Names(
    embedding="token_embd", token_table="token_embd.weight", layer="blk.{}",
    qkv=("attn_q", "attn_k", "attn_v"), attention="attn", output="attn_output",
    inner=("ffn_gate", "ffn_up"), down="ffn_down", norms=("attn_norm", "ffn_norm"),
    final_norm="output_norm", head="output", neighbours=True, unused=("rope_freqs.weight",))


def read(fields: ConfigFields, tied: bool = False) -> dict[str, Any]:
    """The sizes of a decoder with a gated feed-forward and rotary positions. ``tied`` is the
    default of ``tie_word_embeddings``."""
    bias = fields.flag("attention_bias")
    return {**fields.vocabulary(), **fields.sizes(),
            "tied": fields.flag("tie_word_embeddings", tied),
            "positions": fields.size("max_position_embeddings"), "gated": True, "rotary": True,
            "norm_vectors": 1, "qkv_bias": bias, "output_bias": bias,
            "ffn_bias": fields.flag("mlp_bias")}


LLAMA = Family(
    name="llama", class_prefixes=("Llama",), names=NAMES, read=read,
    conventions=Conventions(eps=1e-6),
    gguf=GgufForm(
        architecture="llama", names=GGUF_NAMES,
        keys={"hidden_size": "embedding_length", "intermediate_size": "feed_forward_length",
              "num_hidden_layers": "block_count", "num_attention_heads": "attention.head_count",
              "num_key_value_heads": "attention.head_count_kv",
              "head_dim": "attention.key_length", "max_position_embeddings": "context_length",
              "rope_theta": "rope.freq_base",
              "rms_norm_eps": "attention.layer_norm_rms_epsilon"},
        config={"architectures": ["LlamaForCausalLM"], "hidden_act": "silu"}))
