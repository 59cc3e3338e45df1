"""Writes a small BERT with random weights, for examples without a model at hand."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HIDDEN, FFN, LAYERS, WORDS, POSITIONS = 32, 64, 2, 16, 16
CONFIG = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": WORDS,
          "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": LAYERS,
          "num_attention_heads": 2, "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
          "layer_norm_eps": 1e-12, "hidden_act": "gelu"}


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor by its name."""
    found: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (WORDS, HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        start = f"encoder.layer.{layer}"
        for name, rows, columns in (
                ("attention.self.query", HIDDEN, HIDDEN), ("attention.self.key", HIDDEN, HIDDEN),
                ("attention.self.value", HIDDEN, HIDDEN),
                ("attention.output.dense", HIDDEN, HIDDEN),
                ("intermediate.dense", FFN, HIDDEN), ("output.dense", HIDDEN, FFN)):
            found[f"{start}.{name}.weight"] = (rows, columns)
            found[f"{start}.{name}.bias"] = (rows,)
        norms += [f"{start}.attention.output.LayerNorm", f"{start}.output.LayerNorm"]
    for name in norms:
        found[f"{name}.weight"] = found[f"{name}.bias"] = (HIDDEN,)
    return found


def write_small_checkpoint(folder: Path) -> Path:
    """Write ``config.json`` and ``model.safetensors`` into ``folder``. Return the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file({name: rng.normal(size=shape).astype(np.float32)
               for name, shape in shapes().items()}, folder / "model.safetensors")
    return folder / "model.safetensors"
