"""A Llama small enough for tests, as arrays and as a GGUF file."""

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize

from bitwright.models.inference.reference_llama import LlamaConfig

CONFIG = LlamaConfig(layers=2, hidden=32, heads=4, kv_heads=2, head=8, vocabulary=12, eps=1e-3,
                     rope_base=500.0)
FEED_FORWARD = 64
TOKENS = ["<|end|>", "a", "b", "c", "Ġ", "1", "2", "ab", "Ġab", "abc", "Ċ", "12"]
MERGES = ["a b", "Ġ ab", "ab c", "1 2"]


def tensors(seed=1, config=CONFIG, tied=True):
    """Random tensors by GGUF name, float32."""
    rng = np.random.default_rng(seed)
    kv = config.kv_heads * config.head
    shapes = {"token_embd.weight": (config.vocabulary, config.hidden),
              "output_norm.weight": (config.hidden,)}
    if not tied:
        shapes["output.weight"] = (config.vocabulary, config.hidden)
    for i in range(config.layers):
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in dict(
            attn_norm=(config.hidden,), attn_q=(config.heads * config.head, config.hidden),
            attn_k=(kv, config.hidden), attn_v=(kv, config.hidden),
            attn_output=(config.hidden, config.heads * config.head), ffn_norm=(config.hidden,),
            ffn_gate=(FEED_FORWARD, config.hidden), ffn_up=(FEED_FORWARD, config.hidden),
            ffn_down=(config.hidden, FEED_FORWARD)).items()}
    return {name: rng.normal(0.1, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}


def write_gguf(path, weights, *, architecture="llama", rule="smollm", kind="gpt2",
               types=GGMLQuantizationType.Q4_1, leave_out=()):
    """Write ``weights`` with matrices in ``types``, norms in float32, the embedding in Q8_0."""
    writer = GGUFWriter(path, architecture)
    values = {"block_count": (writer.add_block_count, CONFIG.layers),
              "embedding_length": (writer.add_embedding_length, CONFIG.hidden),
              "feed_forward_length": (writer.add_feed_forward_length, FEED_FORWARD),
              "context_length": (writer.add_context_length, 1024),
              "head_count": (writer.add_head_count, CONFIG.heads),
              "head_count_kv": (writer.add_head_count_kv, CONFIG.kv_heads),
              "eps": (writer.add_layer_norm_rms_eps, CONFIG.eps),
              "freq_base": (writer.add_rope_freq_base, CONFIG.rope_base)}
    for name, (add, value) in values.items():
        if name not in leave_out:
            add(value)
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(TOKENS)
    writer.add_token_types([TokenType.CONTROL] + [TokenType.NORMAL] * (len(TOKENS) - 1))
    writer.add_token_merges(MERGES)
    for name, tensor in weights.items():
        if tensor.ndim == 1 or types == GGMLQuantizationType.F32:
            writer.add_tensor(name, tensor)
        else:
            chosen = GGMLQuantizationType.Q8_0 if name == "token_embd.weight" else types
            writer.add_tensor(name, quantize(tensor, chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
