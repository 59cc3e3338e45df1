"""Configurations (``config.json``) of known families to sizes.

Examples are in ``models/configs``; their names stand for their paths.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitwright.models.architectures import tensor_names as names
from bitwright.models.architectures.tensor_name_map import changed
from bitwright.models.architectures.transformer import Names, Transformer
from bitwright.models.errors import Error

__all__ = ["EXAMPLES", "FAMILIES", "ConfigError", "read_config", "shown", "transformer"]

CONFIGS = Path(__file__).with_name("configs")
EXAMPLES = tuple(sorted(path.stem for path in CONFIGS.glob("*.json")))
MOST_BYTES = 1 << 20
MOST = 1 << 24       # of any size
MOST_LAYERS = 1024   # of layers and experts


class ConfigError(Error, ValueError):
    """A configuration that describes no known model. One line, for people."""


def read_config(spec: str) -> dict[str, Any]:
    """The contents of the ``config.json`` at path ``spec``, or of the example of that name."""
    path = CONFIGS / f"{spec}.json" if spec in EXAMPLES else Path(spec)
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; give the path of a "
                          f"config.json or one of {', '.join(EXAMPLES)}") from None
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path} must have at most {MOST_BYTES} bytes")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must hold a JSON object, not {type(found).__name__}")
    return found


def shown(value: object) -> str:
    """``value`` in ASCII, at most 80 characters."""
    try:
        return ascii(value)[:80]
    except (RecursionError, ValueError):  # an integer of too many digits, or deep nesting
        return f"<{type(value).__name__}>"


class _Fields:
    """Checked fields of one configuration."""

    def __init__(self, config: Mapping[str, Any]):
        self.config = config

    def size(self, key: str, default: int | None = None, most: int = MOST) -> int:
        value = self.config.get(key)
        if value is None:
            if default is None:
                raise ConfigError(f"config: {key} is missing")
            value = default
        if type(value) is not int or not 1 <= value <= most:
            raise ConfigError(f"config: {key} must be an integer from 1 to {most}, not "
                              f"{shown(value)}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.config.get(key)
        if value is None:
            return default
        if type(value) is not bool:
            raise ConfigError(f"config: {key} must be true or false, not {shown(value)}")
        return value

    def must(self, key: str, *known: Any) -> None:
        """``key`` is absent or has one of these values."""
        value = self.config.get(key)
        if value is not None and value not in known:
            raise ConfigError(f"config: {key} must be {' or '.join(map(repr, known))}, not "
                              f"{shown(value)}")

    def sizes(self, hidden: str = "hidden_size", ffn: str = "intermediate_size",
              layers: str = "num_hidden_layers", heads: str = "num_attention_heads"
              ) -> dict[str, Any]:
        """What every family has, under its keys; key heads and head width where they differ."""
        width, count = self.size(hidden), self.size(heads)
        kv_heads = self.size("num_key_value_heads", count)
        if count % kv_heads:
            raise ConfigError(f"config: num_key_value_heads must divide {heads} {count}, not "
                              f"{kv_heads}")
        if self.config.get("head_dim") is None and width % count:
            raise ConfigError(f"config: {heads} must divide {hidden} {width}, not {count}")
        found = {"hidden": width, "heads": count, "kv_heads": kv_heads,
                 "head_dim": self.size("head_dim", max(width // count, 1)),
                 "layers": self.size(layers, most=MOST_LAYERS)}
        return found | ({"ffn": self.size(ffn)} if ffn else {})


def _head(class_name: str, outputs: int) -> int:
    """Outputs of a language model's head; 0 for a model without it, or with one of its own."""
    return outputs if class_name.endswith(("ForCausalLM", "LMHeadModel")) or not class_name else 0


def _bert(fields: _Fields, family: str, class_name: str) -> Transformer:
    positions = fields.size("max_position_embeddings")
    return Transformer(
        family=family, names=names.BERT, **fields.sizes(), vocabulary=fields.size("vocab_size"),
        norm_first=False, causal=False, positions=positions, position_rows=positions,
        segment_rows=fields.size("type_vocab_size"),
        pooler=class_name not in ("BertForMaskedLM", "BertForTokenClassification",
                                  "BertForQuestionAnswering"))


_LLAMA_NAMES = {"mixtral": names.MIXTRAL, "phi3": names.PHI3, "bitnet": names.BITNET}


def _llama(fields: _Fields, family: str, class_name: str) -> Transformer:
    extra = dict[str, Any]()
    bias = fields.flag("attention_bias")
    if family == "mixtral":
        extra = {"experts": fields.size("num_local_experts", most=MOST_LAYERS),
                 "chosen": fields.size("num_experts_per_tok", most=MOST_LAYERS)}
        if extra["chosen"] > extra["experts"]:
            raise ConfigError(f"config: num_experts_per_tok must be at most num_local_experts "
                              f"{extra['experts']}, not {extra['chosen']}")
    vocabulary = fields.size("vocab_size")
    return Transformer(
        family=family, names=_LLAMA_NAMES.get(family, names.LLAMA), **fields.sizes(), **extra,
        vocabulary=vocabulary, outputs=_head(class_name, vocabulary),
        tied=fields.flag("tie_word_embeddings", family == "bitnet"),
        positions=fields.size("max_position_embeddings"),
        gated=True, rotary=True, norm_vectors=1,
        sub_norms=family == "bitnet", qkv_bias=bias or family == "qwen2", output_bias=bias,
        ffn_bias=fields.flag("mlp_bias"))


def _phi(fields: _Fields, family: str, class_name: str) -> Transformer:
    fields.must("qk_layernorm", False)
    vocabulary = fields.size("vocab_size")
    return Transformer(
        family=family, names=names.PHI, **fields.sizes(), vocabulary=vocabulary,
        outputs=_head(class_name, vocabulary), tied=fields.flag("tie_word_embeddings"),
        positions=fields.size("max_position_embeddings"),
        rotary=True, head_bias=True)


def _gpt2(fields: _Fields, family: str, class_name: str) -> Transformer:
    sizes = fields.sizes("n_embd", "", "n_layer", "n_head")
    vocabulary, positions = fields.size("vocab_size"), fields.size("n_positions")
    return Transformer(
        family=family, names=names.GPT2, **sizes, ffn=fields.size("n_inner", 4 * sizes["hidden"]),
        vocabulary=vocabulary, outputs=_head(class_name, vocabulary),
        tied=fields.flag("tie_word_embeddings", True),
        position_rows=positions, positions=positions)


def _opt(fields: _Fields, family: str, class_name: str) -> Transformer:
    sizes, bias = fields.sizes(ffn="ffn_dim"), fields.flag("enable_bias", True)
    fields.must("word_embed_proj_dim", sizes["hidden"])
    fields.must("do_layer_norm_before", True)
    vocabulary = fields.size("vocab_size")
    positions = fields.size("max_position_embeddings", 2048)
    return Transformer(
        family=family, names=names.OPT, **sizes, vocabulary=vocabulary,
        outputs=_head(class_name, vocabulary),
        tied=fields.flag("tie_word_embeddings", True),
        position_rows=positions + 2,  # positions start at 2
        positions=positions, qkv_bias=bias, output_bias=bias, ffn_bias=bias)


def _vit(fields: _Fields, family: str, class_name: str) -> Transformer:
    side, patch = fields.size("image_size"), fields.size("patch_size")
    if side % patch:
        raise ConfigError(f"config: patch_size must divide image_size {side}, not {patch}")
    labels = fields.config.get("id2label")
    count = len(labels) if isinstance(labels, dict) else None
    patches = (side // patch) ** 2
    return Transformer(
        family=family, names=names.VIT, **fields.sizes(), vocabulary=0, causal=False,
        outputs=0 if class_name == "ViTModel" else fields.size("num_labels", count),
        head_bias=True, patches=patches,
        patch=patch * patch * fields.size("num_channels"), positions=patches + 1,
        position_rows=patches + 1, qkv_bias=fields.flag("qkv_bias", True))


Reader = Callable[[_Fields, str, str], Transformer]
_READERS: dict[str, Reader] = {
    "bert": _bert, "llama": _llama, "mistral": _llama, "mixtral": _llama, "qwen2": _llama,
    "bitnet": _llama, "phi": _phi, "phi3": _llama, "gpt2": _gpt2, "opt": _opt, "vit": _vit}
FAMILIES = tuple(_READERS)
_CLASSES = {
    "Bert": "bert", "Llama": "llama", "Mistral": "mistral", "Mixtral": "mixtral",
    "Qwen2": "qwen2", "BitNet": "bitnet", "Bitnet": "bitnet", "Phi": "phi", "Phi3": "phi3",
    "GPT2": "gpt2", "OPT": "opt", "ViT": "vit"}
_SUFFIXES = ("Model", "LMHeadModel", "ForCausalLM", "ForMaskedLM", "ForPreTraining",
             "ForImageClassification", "ForSequenceClassification", "ForTokenClassification",
             "ForQuestionAnswering")


def _family(config: Mapping[str, Any]) -> tuple[str, str]:
    """Family and class name; either ``model_type`` or ``architectures`` names the family."""
    kind, classes = config.get("model_type"), config.get("architectures")
    known = f"known are {', '.join(FAMILIES)}"
    if classes is None:
        if kind not in FAMILIES:
            raise ConfigError(f"config: model_type {shown(kind)}, without architectures, is no "
                              f"known model; {known}")
        return kind, ""
    name = classes[0] if isinstance(classes, list) and len(classes) == 1 else None
    family = next((_CLASSES[name.removesuffix(suffix)] for suffix in _SUFFIXES
                   if isinstance(name, str) and name.removesuffix(suffix) in _CLASSES), None)
    if name is None or family is None:
        raise ConfigError(f"config: architectures {shown(classes)} is no known model; {known}")
    if kind not in (None, family):
        raise ConfigError(f"config: model_type must be {family!r} for {name}, not {shown(kind)}; "
                          f"{known}")
    return family, name


def _own_names(known: Names, config: Mapping[str, Any]) -> Names:
    """``known``, or the names that ``config`` has under ``tensor_names``: ``"gguf"``, or fields of
    :class:`Names`."""
    given = config.get("tensor_names")
    if given is None:
        return known
    if given == "gguf":
        return names.GGUF
    if not isinstance(given, dict):
        raise ConfigError(f"config: tensor_names must be 'gguf' or an object, not {shown(given)}")
    try:
        return changed(known, given)
    except ValueError as error:
        raise ConfigError(f"names: {error}") from None


def transformer(config: Mapping[str, Any]) -> Transformer:
    """The sizes of the model that ``config`` describes.

    Raises :class:`ConfigError` for a family that is not known (it lists those that are) and for
    a value that is missing or out of range.
    """
    family, class_name = _family(config)
    model = _READERS[family](_Fields(config), family, class_name)
    model = replace(model, names=_own_names(model.names, config))
    if len(model.names.inner) > 1 + model.gated:
        raise ConfigError(f"names: inner must be 1 name in a {family} model, which has no gate")
    return model
