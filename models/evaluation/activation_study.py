"""Measures how coarse activations, rotations and integer functions change real models: by layer,
and at the end."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.models.architectures.families import read_config, transformer
from bitwright.models.architectures.transformer import LinearShape
from bitwright.models.assets.fetch import model_path
from bitwright.models.inference.arithmetic import (
    Arithmetic,
    AttentionCache,
    FloatArithmetic,
    weight_of,
)
from bitwright.models.inference.gguf_llama import GgufModel
from bitwright.models.inference.network import Network
from bitwright.models.inference.perplexity import perplexity, windows
from bitwright.models.inference.rotated_arithmetic import RotatedArithmetic, rotated_tensors
from bitwright.models.nonlinear.floating_point import FLOAT, Functions
from bitwright.models.nonlinear.integer import INTEGER, Integer
from bitwright.models.quantization.hadamard import rotate
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.models.quantization.schemes import quantize

__all__ = ["Subject", "WatchedArithmetic", "decoder", "encoder", "rounded", "rows", "sqnr"]

Array = NDArray[np.floating]
Tensors = Mapping[str, Array]
WORDS = 128  # most tokens of a text for the encoder


def rounded(x: Array, bits: int) -> Array:
    """``x`` [T, K] after :func:`quantize_activations`, in its dtype."""
    codes, scale = quantize_activations(x, bits)
    result: Array = (codes * scale[:, None]).astype(x.dtype)
    return result


class WatchedArithmetic(Arithmetic):
    """``inner``, with ``see(name, x)`` in place of every activation ``x`` that reaches one of the
    layers called ``names``."""

    def __init__(self, inner: Arithmetic, names: Collection[str],
                 see: Callable[[str, Array], Array]) -> None:
        self.inner, self.names, self.see = inner, frozenset(names), see

    def linear(self, name: str, x: Array) -> Array:
        return self.inner.linear(name, self.see(name, x) if name in self.names else x)

    def cache(self) -> AttentionCache:
        return self.inner.cache()


@dataclass(frozen=True)
class Subject:
    """A model, its texts, and ``score``, which rates the network's results beside the results of
    the model as it is."""
    config: Mapping[str, Any]
    tensors: Tensors
    texts: tuple[NDArray[np.integer], ...]
    score: Callable[["Subject", Network], dict[str, float]]

    @cached_property
    def linears(self) -> list[LinearShape]:
        """The layers whose activations are quantized: all but head and pooler."""
        return [linear for linear in transformer(self.config).linears()
                if linear.role not in ("lm_head", "pooler")]

    def network(self, act_bits: int | None = None, weights: str | None = None,
                rotated: bool = False, functions: Functions = FLOAT) -> Network:
        """The model with activations of ``act_bits`` bits per token, weights by a scheme of
        :func:`quantize`, and both rotated before that. None leaves floats."""
        names = [linear.name for linear in self.linears]
        tensors = dict(self.tensors)
        if rotated:
            tensors |= rotated_tensors(self.linears, tensors)
        if weights is not None:
            for linear in self.linears:
                w = quantize(weight_of(linear, tensors), weights).dequantize().astype(np.float32)
                tensors[linear.tensor] = w.T if linear.transposed else w
        model = transformer(self.config)
        arithmetic: Arithmetic = FloatArithmetic(model, tensors)
        if act_bits is not None:
            bits = act_bits
            arithmetic = WatchedArithmetic(arithmetic, names, lambda name, x: rounded(x, bits))
        if rotated:
            arithmetic = RotatedArithmetic(arithmetic, names)
        return Network(model, self.config, tensors, arithmetic, functions)

    def measured(self, **options: Any) -> dict[str, float]:
        """The score of :meth:`network` with these options."""
        return self.score(self, self.network(**options))

    @cached_property
    def embeddings(self) -> Array:
        """Return the embeddings of the encoder as it is, [texts, hidden]."""
        return embeddings(self.network(), self.texts)


def embeddings(network: Network, texts: tuple[NDArray[np.integer], ...]) -> Array:
    """Mean hidden states scaled to length 1, [texts, hidden]."""
    means = np.stack([network(text).mean(axis=0) for text in texts])
    result: Array = means / np.linalg.norm(means, axis=1, keepdims=True)
    return result


def _cosine(subject: Subject, network: Network) -> dict[str, float]:
    cosine = (embeddings(network, subject.texts) * subject.embeddings).sum(axis=1)
    return {"mean cosine": float(cosine.mean()), "least cosine": float(cosine.min())}


def _perplexity(subject: Subject, network: Network) -> dict[str, float]:
    return {"perplexity": perplexity(network, subject.texts)}


def _corpus() -> str:
    return (model_path("lee-background") / "lee_background.cor").read_text(encoding="utf-8")


def encoder(texts: int = 20) -> Subject:
    """MiniLM-L6 and the first ``texts`` lines of the Lee background corpus, 128 tokens of each."""
    from safetensors.numpy import load_file

    from bitwright.models.assets.tokenizer import TextTokenizer

    folder = model_path("minilm")
    tokenizer = TextTokenizer(folder)
    ids = [np.array(tokenizer.encode(line)[:WORDS]) for line in _corpus().splitlines()[:texts]]
    return Subject(read_config(str(folder / "config.json")),
                   load_file(folder / "model.safetensors"), tuple(ids), _cosine)


def decoder(count: int = 1) -> Subject:
    """SmolLM2-135M and the first ``count`` windows of 512 tokens of the Lee background corpus."""
    file = GgufModel(model_path("smollm2") / "model.gguf")
    sizes = file.config()
    config = {
        "model_type": "llama", "tensor_names": "gguf", "hidden_size": sizes.hidden,
        "intermediate_size": int(file.field("llama.feed_forward_length")),
        "num_hidden_layers": sizes.layers, "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads, "vocab_size": sizes.vocabulary,
        "rms_norm_eps": sizes.eps, "rope_theta": sizes.rope_base, "hidden_act": "silu",
        "max_position_embeddings": int(file.field("llama.context_length")),
        "tie_word_embeddings": "output.weight" not in file}
    return Subject(config, {name: file[name] for name in file},
                   tuple(windows(file.tokenizer().encode(_corpus()), count)), _perplexity)


def sqnr(subject: Subject, bits: int) -> dict[str, NDArray[np.float64]]:
    """Return the signal to noise of every layer's activations in decibels, [layers, 2], by role.
    Activations are quantized to ``bits`` bits as they come, and rotated first. Inputs are taken
    from the model as it is, over all texts."""
    power: dict[str, NDArray[np.float64]] = {
        linear.name: np.zeros(3) for linear in subject.linears}

    def see(name: str, x: Array) -> Array:
        turned = rotate(x)
        power[name] += [float(np.square(v, dtype=np.float64).sum())
                        for v in (x, rounded(x, bits) - x, rounded(turned, bits) - turned)]
        return x

    plain = subject.network()
    plain.arithmetic = WatchedArithmetic(plain.arithmetic, power, see)
    for text in subject.texts:
        plain(text)
    roles: dict[str, list[NDArray[np.float64]]] = {}
    for linear in subject.linears:
        signal, *noise = power[linear.name]
        roles.setdefault(linear.role, []).append(10 * np.log10(signal / np.array(noise)))
    return {role: np.array(rows) for role, rows in roles.items()}


VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "rotation": (dict(), dict(act_bits=8), dict(act_bits=8, rotated=True), dict(act_bits=4),
                 dict(act_bits=4, rotated=True), dict(act_bits=4, weights="int4"),
                 dict(act_bits=4, weights="int4", rotated=True)),
    "integer": (dict(), dict(functions=INTEGER), dict(functions=Integer(12)),
                dict(functions=Integer(8)), dict(act_bits=8),
                dict(act_bits=8, functions=INTEGER))}


def label(options: Mapping[str, Any]) -> str:
    """Options of :meth:`Subject.network` in words."""
    bits, weights = options.get("act_bits"), options.get("weights")
    parts = [f"weights {weights or 'float'}", f"activations {f'int{bits}' if bits else 'float'}"]
    parts += ["rotated"] * ("rotated" in options)
    if "functions" in options:
        parts.append(f"functions int{options['functions'].bits}")
    return ", ".join(parts)


def rows(subject: Subject, study: str) -> Iterator[tuple[str, ...]]:
    """A table, heading first: the score of each variant of the study; for ``rotation``, then the
    decibels of every role with 4 bits, mean and least over the layers."""
    for number, options in enumerate(VARIANTS[study]):
        score = subject.measured(**options)
        if not number:
            yield "variant", *score
        yield label(options), *(f"{value:.5f}" if "cosine" in name else f"{value:.2f}"
                                for name, value in score.items())
    if study == "rotation":
        yield "inputs of", "dB as they are: mean", "least", "rotated: mean", "least"
        for role, db in sqnr(subject, 4).items():
            yield role, *(f"{value:.1f}" for column in db.T for value in (column.mean(),
                                                                         column.min()))
