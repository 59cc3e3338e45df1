"""What the tensors of a checkpoint are: the layers that the array runs, and the rest.

The architecture is named by ``config.json`` (``architectures``, ``model_type``). For each, this
module lists every tensor with its expected shape: a :class:`Linear` (``y = x @ weight.T + bias``,
a matrix for the array) or a :class:`HostTensor` (embeddings and norms). Tensor names are canonical,
that is without the prefix ``bert.`` that BERT models with a task head put before them.
"""
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from compiler.safetensors_file import CheckpointError, show


@dataclass(frozen=True, kw_only=True)
class Linear:
    """One matrix product: ``n`` outputs of ``k`` inputs, the weight stored as ``[n, k]``.

    ``name`` is the weight's tensor name less ``.weight``, except that a tied ``lm_head`` shares
    the embedding's tensor. ``role`` is one of ``query``, ``key``, ``value``, ``attention_output``,
    ``ffn_gate``, ``ffn_up``, ``ffn_down``, ``pooler``, ``lm_head``.
    """
    name: str
    tensor: str
    bias_tensor: str | None
    n: int
    k: int
    role: str


@dataclass(frozen=True, kw_only=True)
class HostTensor:
    """A tensor that stays with the host: ``role`` is ``embedding`` or ``norm``."""
    tensor: str
    shape: tuple[int, ...]
    role: str


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What every tensor of a model is: ``linears`` in order of execution, and ``host``.

    ``buffers`` matches tensors that hold no weights, ``heads`` those of a task head; neither is
    read.
    """
    name: str
    linears: tuple[Linear, ...]
    host: tuple[HostTensor, ...]
    buffers: re.Pattern[str]
    heads: re.Pattern[str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Expected shape of every tensor by canonical name."""
        shapes = {tensor.tensor: tensor.shape for tensor in self.host}
        for linear in self.linears:
            shapes[linear.tensor] = (linear.n, linear.k)
            if linear.bias_tensor:
                shapes[linear.bias_tensor] = (linear.n,)
        return shapes


KNOWN = {
    "BertModel": "bert", "BertForMaskedLM": "bert", "BertForPreTraining": "bert",
    "BertForSequenceClassification": "bert", "BertForTokenClassification": "bert",
    "BertForQuestionAnswering": "bert",
    "LlamaForCausalLM": "llama",
}
_LIMITS = {
    "vocab_size": 1 << 24, "hidden_size": 1 << 17, "intermediate_size": 1 << 20,
    "num_hidden_layers": 1024, "num_attention_heads": 4096, "num_key_value_heads": 4096,
    "head_dim": 1 << 14, "max_position_embeddings": 1 << 24, "type_vocab_size": 1024,
}


def architecture_name(config: Mapping[str, Any]) -> str:
    """``"bert"`` or ``"llama"``; :class:`CheckpointError` names any other, and what is known."""
    classes, model_type = config.get("architectures"), config.get("model_type")
    known = f"known are {', '.join(KNOWN)}"
    if classes is None and model_type is None:
        raise CheckpointError(f"config: it has neither architectures nor model_type; {known}")
    if classes is None:
        if not isinstance(model_type, str) or model_type not in KNOWN.values():
            raise CheckpointError(f"config: model_type {show(model_type)} is not known; {known}")
        return model_type
    if (not isinstance(classes, list) or len(classes) != 1
            or not isinstance(classes[0], str) or classes[0] not in KNOWN):
        raise CheckpointError(f"config: architectures {show(classes)} is not known; {known}")
    name = KNOWN[classes[0]]
    if model_type not in (None, name):
        raise CheckpointError(f"config: model_type must be {name!r} for {classes[0]}, "
                              f"not {show(model_type)}")
    return name


def architecture(config: Mapping[str, Any], present: Collection[str] = ()) -> Architecture:
    """Every tensor of the model that ``config`` (the contents of ``config.json``) describes.

    ``present`` are the checkpoint's canonical tensor names; only the optional BERT pooler is
    looked up in them. Raises :class:`CheckpointError` for an unknown architecture and for a value
    that is missing, no positive integer, or beyond a sane limit.
    """
    return {"bert": _bert, "llama": _llama}[architecture_name(config)](config, present)


def linears(config: Mapping[str, Any], present: Collection[str] = ()) -> list[Linear]:
    """The linear layers of :func:`architecture`, in order of execution."""
    return list(architecture(config, present).linears)


def _size(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        if default is None:
            raise CheckpointError(f"config: {key} is missing")
        value = default
    if type(value) is not int or not 1 <= value <= _LIMITS[key]:
        raise CheckpointError(f"config: {key} must be an integer from 1 to {_LIMITS[key]}, "
                              f"not {show(value)}")
    return value


def _flag(config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key)
    if value is not None and type(value) is not bool:
        raise CheckpointError(f"config: {key} must be true or false, not {show(value)}")
    return bool(value)


def _check(config: Mapping[str, Any], key: str, supported: str) -> None:
    if config.get(key, supported) != supported:
        raise CheckpointError(f"config: {key} must be {supported!r}, not {show(config[key])}: "
                              "no other is implemented")


def _check_epsilon(config: Mapping[str, Any], key: str) -> None:
    value = config.get(key)
    if not isinstance(value, float) or not 0 < value < 1:
        raise CheckpointError(f"config: {key} must be a number between 0 and 1, not {show(value)}")


def _check_divides(config: str, whole: int, part_key: str, part: int) -> None:
    if whole % part:
        raise CheckpointError(f"config: {part_key} must divide {config} {whole}, not {part}")


def _bert(config: Mapping[str, Any], present: Collection[str]) -> Architecture:
    hidden, ffn = _size(config, "hidden_size"), _size(config, "intermediate_size")
    layers = _size(config, "num_hidden_layers")
    _check_divides("hidden_size", hidden, "num_attention_heads",
                   _size(config, "num_attention_heads"))
    _check_epsilon(config, "layer_norm_eps")
    _check(config, "hidden_act", "gelu")
    _check(config, "position_embedding_type", "absolute")

    host = [HostTensor(tensor=f"embeddings.{table}_embeddings.weight", role="embedding",
                       shape=(_size(config, key), hidden))
            for table, key in (("word", "vocab_size"), ("position", "max_position_embeddings"),
                               ("token_type", "type_vocab_size"))]
    found: list[Linear] = []

    def norm(name: str) -> None:
        host.extend(HostTensor(tensor=f"{name}.{part}", shape=(hidden,), role="norm")
                    for part in ("weight", "bias"))

    def linear(name: str, n: int, k: int, role: str) -> None:
        found.append(Linear(name=name, tensor=f"{name}.weight", bias_tensor=f"{name}.bias",
                            n=n, k=k, role=role))

    norm("embeddings.LayerNorm")
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}"
        for role in ("query", "key", "value"):
            linear(f"{prefix}.attention.self.{role}", hidden, hidden, role)
        linear(f"{prefix}.attention.output.dense", hidden, hidden, "attention_output")
        norm(f"{prefix}.attention.output.LayerNorm")
        linear(f"{prefix}.intermediate.dense", ffn, hidden, "ffn_up")
        linear(f"{prefix}.output.dense", hidden, ffn, "ffn_down")
        norm(f"{prefix}.output.LayerNorm")
    if "pooler.dense.weight" in present or "pooler.dense.bias" in present:
        linear("pooler.dense", hidden, hidden, "pooler")
    return Architecture(
        name="bert", linears=tuple(found), host=tuple(host),
        buffers=re.compile(r"embeddings\.(position_ids|token_type_ids)"),
        heads=re.compile(r"(cls|classifier|qa_outputs)\..+"))


def _llama(config: Mapping[str, Any], present: Collection[str]) -> Architecture:
    hidden, ffn = _size(config, "hidden_size"), _size(config, "intermediate_size")
    vocab, layers = _size(config, "vocab_size"), _size(config, "num_hidden_layers")
    heads = _size(config, "num_attention_heads")
    kv_heads = _size(config, "num_key_value_heads", heads)
    _size(config, "max_position_embeddings")
    _check_divides("num_attention_heads", heads, "num_key_value_heads", kv_heads)
    if config.get("head_dim") is None:
        _check_divides("hidden_size", hidden, "num_attention_heads", heads)
    head_dim = _size(config, "head_dim", max(hidden // heads, 1))
    attention_bias, mlp_bias = _flag(config, "attention_bias"), _flag(config, "mlp_bias")
    tied = _flag(config, "tie_word_embeddings")
    _check_epsilon(config, "rms_norm_eps")
    _check(config, "hidden_act", "silu")

    embedding = "model.embed_tokens.weight"
    host = [HostTensor(tensor=embedding, shape=(vocab, hidden), role="embedding")]
    found: list[Linear] = []

    def norm(name: str) -> None:
        host.append(HostTensor(tensor=f"{name}.weight", shape=(hidden,), role="norm"))

    def linear(name: str, n: int, k: int, role: str, bias: bool) -> None:
        found.append(Linear(name=name, tensor=f"{name}.weight",
                            bias_tensor=f"{name}.bias" if bias else None, n=n, k=k, role=role))

    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        norm(f"{prefix}.input_layernorm")
        for part, count, role in (("q", heads, "query"), ("k", kv_heads, "key"),
                                  ("v", kv_heads, "value")):
            linear(f"{prefix}.self_attn.{part}_proj", count * head_dim, hidden, role,
                   attention_bias)
        linear(f"{prefix}.self_attn.o_proj", hidden, heads * head_dim, "attention_output",
               attention_bias)
        norm(f"{prefix}.post_attention_layernorm")
        linear(f"{prefix}.mlp.gate_proj", ffn, hidden, "ffn_gate", mlp_bias)
        linear(f"{prefix}.mlp.up_proj", ffn, hidden, "ffn_up", mlp_bias)
        linear(f"{prefix}.mlp.down_proj", hidden, ffn, "ffn_down", mlp_bias)
    norm("model.norm")
    found.append(Linear(name="lm_head", tensor=embedding if tied else "lm_head.weight",
                        bias_tensor=None, n=vocab, k=hidden, role="lm_head"))
    return Architecture(
        name="llama", linears=tuple(found), host=tuple(host),
        buffers=re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq"),
        # A tied model may store its embedding a second time.
        heads=re.compile(r"lm_head\.weight" if tied else r"(?!)"))
