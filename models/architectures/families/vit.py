"""ViT: an encoder of an image's patches."""

from typing import Any

from bitwright.models.architectures.config_fields import ConfigError, ConfigFields
from bitwright.models.architectures.family import Conventions, Family
from bitwright.models.architectures.transformer import Names

__all__ = ["VIT"]

NAMES = Names(
    prefix="vit.", unused=("vit.embeddings.mask_token", "vit.pooler.*"),
    embedding="vit.embeddings", class_token="vit.embeddings.cls_token",
    position_table="vit.embeddings.position_embeddings",
    patches="vit.embeddings.patch_embeddings.projection", layer="vit.encoder.layer.{}",
    qkv=tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
    attention="attention", output="attention.output.dense", inner=("intermediate.dense",),
    down="output.dense", norms=("layernorm_before", "layernorm_after"),
    final_norm="vit.layernorm", head="classifier")


def read(fields: ConfigFields) -> dict[str, Any]:
    """The sizes of an encoder: square patches of a square image, and a class token."""
    side, patch = fields.size("image_size"), fields.size("patch_size")
    if side % patch:
        raise ConfigError(f"config: patch_size must divide image_size {side}, not {patch}")
    labels = fields.config.get("id2label")
    count = len(labels) if isinstance(labels, dict) else None
    patches = (side // patch) ** 2
    return {**fields.sizes(), "vocabulary": 0, "causal": False,
            "outputs": 0 if fields.class_name == "ViTModel" else fields.size("num_labels", count),
            "head_bias": True, "patches": patches,
            "patch": patch * patch * fields.size("num_channels"), "positions": patches + 1,
            "position_rows": patches + 1, "qkv_bias": fields.flag("qkv_bias", True)}


VIT = Family(
    name="vit", class_prefixes=("ViT",), names=NAMES, read=read,
    conventions=Conventions(eps=1e-12, eps_key="layer_norm_eps", activations=("gelu",)))
