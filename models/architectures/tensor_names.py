"""What each known family calls its parts, as :class:`Names`."""

from dataclasses import replace

from bitwright.models.architectures.transformer import Names

__all__ = ["BERT", "BITNET", "GGUF", "GPT2", "LLAMA", "MIXTRAL", "OPT", "PHI", "PHI3", "VIT"]

_QKV = tuple(f"self_attn.{part}_proj" for part in "qkv")

BERT = Names(
    prefix="bert.", unused=("embeddings.position_ids", "embeddings.token_type_ids"),
    embedding="embeddings", token_table="embeddings.word_embeddings.weight",
    position_table="embeddings.position_embeddings.weight",
    segment_table="embeddings.token_type_embeddings.weight",
    embedding_norm="embeddings.LayerNorm", layer="encoder.layer.{}",
    qkv=tuple(f"attention.self.{part}" for part in ("query", "key", "value")),
    attention="attention", output="attention.output.dense", residual="attention.residual",
    inner=("intermediate.dense",), down="output.dense",
    norms=("attention.output.LayerNorm", "output.LayerNorm"))
LLAMA = Names(
    prefix="model.", unused=("model.*rotary_emb.inv_freq",),
    embedding="model.embed_tokens", token_table="model.embed_tokens.weight",
    layer="model.layers.{}", qkv=_QKV, attention="self_attn", output="self_attn.o_proj",
    inner=("mlp.gate_proj", "mlp.up_proj"), down="mlp.down_proj",
    norms=("input_layernorm", "post_attention_layernorm"), final_norm="model.norm")
MIXTRAL = replace(LLAMA, router="block_sparse_moe.gate", expert="block_sparse_moe.experts.{}.",
                  inner=("w1", "w3"), down="w2")
PHI3 = replace(LLAMA, qkv=("self_attn.qkv_proj",), inner=("mlp.gate_up_proj",))
BITNET = replace(LLAMA, sub_norms=("self_attn.attn_sub_norm", "mlp.ffn_sub_norm"))
PHI = replace(LLAMA, output="self_attn.dense", inner=("mlp.fc1",), down="mlp.fc2",
              norms=("input_layernorm",), final_norm="model.final_layernorm")
GPT2 = Names(
    prefix="transformer.", unused=("transformer.h.*.attn.bias", "transformer.h.*.attn.masked_bias"),
    embedding="transformer.wte", token_table="transformer.wte.weight",
    position_table="transformer.wpe.weight", layer="transformer.h.{}", qkv=("attn.c_attn",),
    attention="attn", output="attn.c_proj", inner=("mlp.c_fc",), down="mlp.c_proj",
    norms=("ln_1", "ln_2"), final_norm="transformer.ln_f", transposed=True)
OPT = Names(
    prefix="model.", embedding="model.decoder.embed_tokens",
    token_table="model.decoder.embed_tokens.weight",
    position_table="model.decoder.embed_positions.weight", layer="model.decoder.layers.{}",
    qkv=_QKV, attention="self_attn", output="self_attn.out_proj", inner=("fc1",), down="fc2",
    norms=("self_attn_layer_norm", "final_layer_norm"),
    final_norm="model.decoder.final_layer_norm")
VIT = Names(
    prefix="vit.", unused=("vit.embeddings.mask_token", "vit.pooler.*"),
    embedding="vit.embeddings", class_token="vit.embeddings.cls_token",
    position_table="vit.embeddings.position_embeddings",
    patches="vit.embeddings.patch_embeddings.projection", layer="vit.encoder.layer.{}",
    qkv=tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
    attention="attention", output="attention.output.dense", inner=("intermediate.dense",),
    down="output.dense", norms=("layernorm_before", "layernorm_after"),
    final_norm="vit.layernorm", head="classifier")
# Of a GGUF file of architecture llama.
GGUF = Names(
    embedding="token_embd", token_table="token_embd.weight", layer="blk.{}",
    qkv=("attn_q", "attn_k", "attn_v"), attention="attn", output="attn_output",
    inner=("ffn_gate", "ffn_up"), down="ffn_down", norms=("attn_norm", "ffn_norm"),
    final_norm="output_norm", head="output", neighbours=True, unused=("rope_freqs.weight",))
