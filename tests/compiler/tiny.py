"""Models small enough to check by hand, and the command line without a process of its own."""

import json

import numpy as np
from safetensors.numpy import save_file

from bitwright.compiler.__main__ import main
from tests import command as command_line

HIDDEN, FFN, LAYERS, POSITIONS = 24, 40, 2, 16
BERT = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": 11,
        "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": LAYERS,
        "num_attention_heads": 3, "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu"}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 11,
         "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": POSITIONS,
         "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": True}
QUERY = "encoder.layer.0.attention.self.query"
FILES = ["config.json", "host.safetensors", "manifest.json", "program.bin", "report.html",
         "report.json", "weights.bin"]
DOWN = "encoder.layer.0.output.dense"


def bert_tensors(seed=0, pooler=False, config=BERT):
    rng = np.random.default_rng(seed)
    h, ffn = config["hidden_size"], config["intermediate_size"]
    shapes = {"embeddings.word_embeddings.weight": (11, h),
              "embeddings.position_embeddings.weight": (POSITIONS, h),
              "embeddings.token_type_embeddings.weight": (2, h),
              "embeddings.LayerNorm.weight": (h,), "embeddings.LayerNorm.bias": (h,)}
    for layer in range(config["num_hidden_layers"]):
        for name, (n, k) in {"attention.self.query": (h, h), "attention.self.key": (h, h),
                             "attention.self.value": (h, h), "attention.output.dense": (h, h),
                             "intermediate.dense": (ffn, h), "output.dense": (h, ffn)}.items():
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (n, k)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (n,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (h,)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (h,)
    if pooler:
        shapes |= {"pooler.dense.weight": (h, h), "pooler.dense.bias": (h,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def llama_tensors():
    rng = np.random.default_rng(1)
    h, f, kv = 16, 20, 8
    shapes = {"model.embed_tokens.weight": (11, h), "model.norm.weight": (h,)}
    for name, shape in {
            "input_layernorm": (h,), "post_attention_layernorm": (h,),
            "self_attn.q_proj": (h, h), "self_attn.k_proj": (kv, h), "self_attn.v_proj": (kv, h),
            "self_attn.o_proj": (h, h), "mlp.gate_proj": (f, h), "mlp.up_proj": (f, h),
            "mlp.down_proj": (h, f)}.items():
        shapes[f"model.layers.0.{name}.weight"] = shape
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_checkpoint(folder, tensors, config=BERT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder / "model.safetensors"


def map_tiny(command, checkpoint, out, *more):
    """``map`` for 5 tokens in groups of 16 on the tiny machine."""
    return command("map", checkpoint, "--machine", "tiny", "--tokens", 5, "--group-size", 16,
                   "--out", out, *more)


def call(capsys, monkeypatch, *arguments):
    """Exit status, standard output and standard error of the command line."""
    return command_line.call(main, "bitwright", capsys, monkeypatch, *arguments)
