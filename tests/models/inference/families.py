"""Every family's forward pass in a straight line, float64, from its public definition, and a tiny
model of each. Weights are by checkpoint name; nothing here is shared with the models."""

import math

import numpy as np

IDS = np.array([3, 0, 10, 7, 7, 1, 9, 2])
SEED = 1

SIZES = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2,
         "num_attention_heads": 4, "vocab_size": 13, "max_position_embeddings": 12}
GROUPED = SIZES | {"num_key_value_heads": 2, "rms_norm_eps": 1e-3, "rope_theta": 500.0}
CONFIGS = {
    "llama": GROUPED | {"architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
                        "attention_bias": True, "mlp_bias": True},
    "mistral": GROUPED | {"architectures": ["MistralForCausalLM"], "hidden_act": "silu",
                          "sliding_window": 4, "head_dim": 6},
    "qwen2": GROUPED | {"architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu",
                        "use_sliding_window": False, "sliding_window": 3,
                        "tie_word_embeddings": True},
    "mixtral": GROUPED | {"architectures": ["MixtralForCausalLM"], "hidden_act": "silu",
                          "num_local_experts": 4, "num_experts_per_tok": 2},
    "bitnet": GROUPED | {"architectures": ["BitNetForCausalLM"], "hidden_act": "relu2"},
    "phi3": GROUPED | {"architectures": ["Phi3ForCausalLM"], "hidden_act": "silu"},
    "phi": SIZES | {"architectures": ["PhiForCausalLM"], "hidden_act": "gelu_new",
                    "layer_norm_eps": 1e-3, "rope_theta": 500.0, "partial_rotary_factor": 0.5},
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "n_embd": 16, "n_layer": 2, "n_head": 4,
             "n_positions": 12, "vocab_size": 13, "layer_norm_epsilon": 1e-3,
             "activation_function": "gelu_new"},
    "opt": SIZES | {"architectures": ["OPTForCausalLM"], "ffn_dim": 20, "word_embed_proj_dim": 16,
                    "do_layer_norm_before": True, "activation_function": "relu"},
    "vit": {"architectures": ["ViTForImageClassification"], "hidden_size": 16,
            "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": 12, "patch_size": 4, "num_channels": 3, "num_labels": 5,
            "hidden_act": "gelu", "layer_norm_eps": 1e-3},
}
for _family, _config in CONFIGS.items():
    _config["model_type"] = _family


# ---- parts --------------------------------------------------------------------------------
def dense(w, at, x):
    y = np.einsum("tk,nk->tn", x, w[f"{at}.weight"])
    return y + w[f"{at}.bias"] if f"{at}.bias" in w else y


def rms(w, at, x, eps=1e-3):
    return np.array([row / math.sqrt(math.fsum(row ** 2) / len(row) + eps) for row in x]) * w[
        f"{at}.weight"]


def layer_norm(w, at, x, eps=1e-3):
    rows = [(row - row.mean()) / math.sqrt(row.var() + eps) for row in x]
    return np.array(rows) * w[f"{at}.weight"] + w[f"{at}.bias"]


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_new(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def gelu(x):
    return np.vectorize(lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2)(x)


def turn(vector, position, base, width):
    """Rotary positions as pairs (i, i + width/2) of complex numbers."""
    z = vector[:width // 2] + 1j * vector[width // 2:width]
    z = z * np.exp(1j * position * base ** (-2 * np.arange(width // 2) / width))
    return np.concatenate([z.real, z.imag, vector[width:]])


def attend(q, k, v, size, *, rotary=0, causal=True, window=10**9):
    """Softmax attention, head by head and token by token; q, k, v [T, heads * size]."""
    mixed, share = np.zeros_like(q), q.shape[1] // k.shape[1]
    for head in range(q.shape[1] // size):
        cut = slice(head * size, (head + 1) * size)
        own = slice(head // share * size, (head // share + 1) * size)
        for t in range(len(q)):
            seen = [u for u in range(len(k)) if (u <= t and t - u < window) or not causal]
            e = np.array([math.exp(turn(q[t, cut], t, 500.0, rotary)
                                   @ turn(k[u, own], u, 500.0, rotary) / math.sqrt(size))
                          for u in seen])
            mixed[t, cut] = (e / e.sum()) @ v[seen, own]
    return mixed


# ---- families -----------------------------------------------------------------------------
def llama_like(w, ids, *, size=4, window=10**9, feed_forward=None, attention_norm=None,
               fused=False, head="lm_head"):
    """Norm, attention, norm, feed-forward; what families change is given."""
    h = w["model.embed_tokens.weight"][ids]
    for i in range(2):
        at = f"model.layers.{i}."
        x = rms(w, at + "input_layernorm", h)
        if fused:
            q, k, v = np.split(dense(w, at + "self_attn.qkv_proj", x), [16, 24], axis=1)
        else:
            q, k, v = (dense(w, f"{at}self_attn.{part}_proj", x) for part in "qkv")
        y = attend(q, k, v, size, rotary=size, window=window)
        if attention_norm:
            y = rms(w, at + attention_norm, y)
        h = h + dense(w, at + "self_attn.o_proj", y)
        x = rms(w, at + "post_attention_layernorm", h)
        h = h + (feed_forward or swiglu)(w, at, x)
    return dense(w, head, rms(w, "model.norm", h))


def swiglu(w, at, x):
    return dense(w, at + "mlp.down_proj", silu(dense(w, at + "mlp.gate_proj", x))
                 * dense(w, at + "mlp.up_proj", x))


def relu2_with_norm(w, at, x):
    y = np.maximum(dense(w, at + "mlp.gate_proj", x), 0) ** 2 * dense(w, at + "mlp.up_proj", x)
    return dense(w, at + "mlp.down_proj", rms(w, at + "mlp.ffn_sub_norm", y))


def fused_swiglu(w, at, x):
    both = dense(w, at + "mlp.gate_up_proj", x)
    return dense(w, at + "mlp.down_proj", both[:, 20:] * silu(both[:, :20]))


def experts(w, at, x):
    """Probabilities of all experts; the two greatest, scaled to sum 1."""
    out = np.zeros_like(x)
    for t, row in enumerate(x):
        e = np.exp(w[at + "block_sparse_moe.gate.weight"] @ row)
        p = e / e.sum()
        best = sorted(range(4), key=lambda expert: -p[expert])[:2]
        for expert in best:
            one = f"{at}block_sparse_moe.experts.{expert}."
            y = dense(w, one + "w2", silu(dense(w, one + "w1", row[None]))
                      * dense(w, one + "w3", row[None]))
            out[t] += p[expert] / sum(p[b] for b in best) * y[0]
    return out


def phi(w, ids):
    """Attention and feed-forward side by side on one norm; half of each head is turned."""
    h = w["model.embed_tokens.weight"][ids]
    for i in range(2):
        at = f"model.layers.{i}."
        x = layer_norm(w, at + "input_layernorm", h)
        q, k, v = (dense(w, f"{at}self_attn.{part}_proj", x) for part in "qkv")
        y = dense(w, at + "self_attn.dense", attend(q, k, v, 4, rotary=2))
        h = h + y + dense(w, at + "mlp.fc2", gelu_new(dense(w, at + "mlp.fc1", x)))
    return dense(w, "lm_head", layer_norm(w, "model.final_layernorm", h))


def gpt2(w, ids):
    """Weights are [inputs, outputs]."""
    def conv1d(at, x):
        return x @ w[f"{at}.weight"] + w[f"{at}.bias"]

    h = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][:len(ids)]
    for i in range(2):
        at = f"transformer.h.{i}."
        q, k, v = np.split(conv1d(at + "attn.c_attn", layer_norm(w, at + "ln_1", h)), 3, axis=1)
        h = h + conv1d(at + "attn.c_proj", attend(q, k, v, 4))
        x = layer_norm(w, at + "ln_2", h)
        h = h + conv1d(at + "mlp.c_proj", gelu_new(conv1d(at + "mlp.c_fc", x)))
    return layer_norm(w, "transformer.ln_f", h) @ w["transformer.wte.weight"].T


def opt(w, ids):
    """The first position's row is number 2."""
    at = "model.decoder."
    h = w[at + "embed_tokens.weight"][ids] + w[at + "embed_positions.weight"][2:2 + len(ids)]
    for i in range(2):
        one = f"{at}layers.{i}."
        x = layer_norm(w, one + "self_attn_layer_norm", h, 1e-5)
        q, k, v = (dense(w, f"{one}self_attn.{part}_proj", x) for part in "qkv")
        h = h + dense(w, one + "self_attn.out_proj", attend(q, k, v, 4))
        x = layer_norm(w, one + "final_layer_norm", h, 1e-5)
        h = h + dense(w, one + "fc2", np.maximum(dense(w, one + "fc1", x), 0))
    return layer_norm(w, at + "final_layer_norm", h, 1e-5) @ w[at + "embed_tokens.weight"].T


def vit(w, pixels):
    """The projection is a convolution with a stride of its own width."""
    at = "vit.embeddings."
    kernel, rows = w[at + "patch_embeddings.projection.weight"], [w[at + "cls_token"][0, 0]]
    for y in range(0, 12, 4):
        for x in range(0, 12, 4):
            rows.append(np.einsum("nchw,chw->n", kernel, pixels[:, y:y + 4, x:x + 4])
                        + w[at + "patch_embeddings.projection.bias"])
    h = np.array(rows) + w[at + "position_embeddings"][0]
    for i in range(2):
        one = f"vit.encoder.layer.{i}."
        x = layer_norm(w, one + "layernorm_before", h)
        q, k, v = (dense(w, f"{one}attention.attention.{part}", x)
                   for part in ("query", "key", "value"))
        h = h + dense(w, one + "attention.output.dense", attend(q, k, v, 4, causal=False))
        x = layer_norm(w, one + "layernorm_after", h)
        h = h + dense(w, one + "output.dense", gelu(dense(w, one + "intermediate.dense", x)))
    return dense(w, "classifier", layer_norm(w, "vit.layernorm", h)[:1])


FORWARD = {
    "llama": llama_like, "qwen2": lambda w, x: llama_like(w, x, head="model.embed_tokens"),
    "mistral": lambda w, x: llama_like(w, x, size=6, window=4),
    "mixtral": lambda w, x: llama_like(w, x, feed_forward=experts),
    "bitnet": lambda w, x: llama_like(w, x, feed_forward=relu2_with_norm, head="model.embed_tokens",
                                      attention_norm="self_attn.attn_sub_norm"),
    "phi3": lambda w, x: llama_like(w, x, feed_forward=fused_swiglu, fused=True),
    "phi": phi, "gpt2": gpt2, "opt": opt, "vit": vit}


# ---- tensors ------------------------------------------------------------------------------
def _with_bias(shapes):
    return {f"{name}.{part}": shape if part == "weight" else shape[:1]
            for name, shape in shapes.items() for part in ("weight", "bias")}


def _weights(shapes):
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def _projections(query, key, output="o_proj"):
    return {"self_attn.q_proj": (query, 16), "self_attn.k_proj": (key, 16),
            "self_attn.v_proj": (key, 16), f"self_attn.{output}": (16, query)}


GLU = {"mlp.gate_proj": (20, 16), "mlp.up_proj": (20, 16), "mlp.down_proj": (16, 20)}
TWO_NORMS = {"input_layernorm": (16,), "post_attention_layernorm": (16,)}


def _layer(family):
    """Shapes of one layer's tensors."""
    match family:
        case "llama":
            return _with_bias(_projections(16, 8) | GLU) | _weights(TWO_NORMS)
        case "mistral":
            return _weights(_projections(24, 12) | GLU | TWO_NORMS)
        case "qwen2":
            found = _weights(_projections(16, 8) | GLU | TWO_NORMS)
            return found | {f"self_attn.{part}_proj.bias": (16 if part == "q" else 8,)
                            for part in "qkv"}
        case "mixtral":
            one = {"w1": (20, 16), "w2": (16, 20), "w3": (20, 16)}
            return _weights(_projections(16, 8) | TWO_NORMS | {
                "block_sparse_moe.gate": (4, 16)} | {
                f"block_sparse_moe.experts.{expert}.{name}": shape for expert in range(4)
                for name, shape in one.items()})
        case "bitnet":
            return _weights(_projections(16, 8) | GLU | TWO_NORMS | {
                "self_attn.attn_sub_norm": (16,), "mlp.ffn_sub_norm": (20,)})
        case "phi3":
            return _weights(TWO_NORMS | {
                "self_attn.qkv_proj": (32, 16), "self_attn.o_proj": (16, 16),
                "mlp.gate_up_proj": (40, 16), "mlp.down_proj": (16, 20)})
        case "phi":
            return _with_bias(_projections(16, 16, "dense") | {
                "mlp.fc1": (20, 16), "mlp.fc2": (16, 20), "input_layernorm": (16,)})
        case "opt":
            return _with_bias(_projections(16, 16, "out_proj") | {
                "fc1": (20, 16), "fc2": (16, 20), "self_attn_layer_norm": (16,),
                "final_layer_norm": (16,)})
        case "gpt2":
            found = {"attn.c_attn": (16, 48), "attn.c_proj": (16, 16), "mlp.c_fc": (16, 64),
                     "mlp.c_proj": (64, 16), "ln_1": (16,), "ln_2": (16,)}
            return _weights(found) | {f"{name}.bias": shape[-1:] for name, shape in found.items()}
        case "vit":
            return _with_bias({
                f"attention.attention.{part}": (16, 16) for part in ("query", "key", "value")} | {
                "attention.output.dense": (16, 16), "intermediate.dense": (20, 16),
                "output.dense": (16, 20), "layernorm_before": (16,), "layernorm_after": (16,)})
    raise KeyError(family)


AROUND = {
    "phi": _with_bias({"model.final_layernorm": (16,), "lm_head": (13, 16)})
    | {"model.embed_tokens.weight": (13, 16)},
    "gpt2": _with_bias({"transformer.ln_f": (16,)}) | _weights({
        "transformer.wte": (13, 16), "transformer.wpe": (12, 16)}),
    "opt": _with_bias({"model.decoder.final_layer_norm": (16,)}) | _weights({
        "model.decoder.embed_tokens": (13, 16), "model.decoder.embed_positions": (14, 16)}),
    "vit": _with_bias({"vit.layernorm": (16,), "classifier": (5, 16)}) | {
        "vit.embeddings.cls_token": (1, 1, 16), "vit.embeddings.position_embeddings": (1, 10, 16),
        "vit.embeddings.patch_embeddings.projection.weight": (16, 3, 4, 4),
        "vit.embeddings.patch_embeddings.projection.bias": (16,)}}
LAYERS = {"gpt2": "transformer.h", "opt": "model.decoder.layers", "vit": "vit.encoder.layer"}


def shapes(family):
    """Of every tensor of the tiny model."""
    around = AROUND.get(family) or _weights({"model.embed_tokens": (13, 16), "model.norm": (16,)})
    if family in ("llama", "mistral", "mixtral", "phi3"):
        around = around | {"lm_head.weight": (13, 16)}
    return around | {f"{LAYERS.get(family, 'model.layers')}.{i}.{name}": shape for i in range(2)
                     for name, shape in _layer(family).items()}


def tensors(family, seed=SEED):
    """Random, float32."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0.1, 0.4, shape).astype(np.float32)
            for name, shape in shapes(family).items()}


def inputs(family):
    """Tokens, or the pixels of an image."""
    return np.random.default_rng(SEED).normal(size=(3, 12, 12)) if family == "vit" else IDS
