"""BERT: an encoder with norms behind the residuals."""

from typing import Any

from bitwright.models.architectures.config_fields import ConfigFields
from bitwright.models.architectures.family import Conventions, Family
from bitwright.models.architectures.transformer import Names

__all__ = ["BERT"]

WITHOUT_POOLER = ("BertForMaskedLM", "BertForTokenClassification", "BertForQuestionAnswering")

NAMES = Names(
    prefix="bert.", unused=("embeddings.position_ids", "embeddings.token_type_ids"),
    embedding="embeddings", token_table="embeddings.word_embeddings.weight",
    position_table="embeddings.position_embeddings.weight",
    segment_table="embeddings.token_type_embeddings.weight",
    embedding_norm="embeddings.LayerNorm", layer="encoder.layer.{}",
    qkv=tuple(f"attention.self.{part}" for part in ("query", "key", "value")),
    attention="attention", output="attention.output.dense", residual="attention.residual",
    inner=("intermediate.dense",), down="output.dense",
    norms=("attention.output.LayerNorm", "output.LayerNorm"))


def read(fields: ConfigFields) -> dict[str, Any]:
    """The sizes of an encoder."""
    positions = fields.size("max_position_embeddings")
    return {**fields.sizes(), "vocabulary": fields.size("vocab_size"), "norm_first": False,
            "causal": False, "positions": positions, "position_rows": positions,
            "segment_rows": fields.size("type_vocab_size"),
            "pooler": fields.class_name not in WITHOUT_POOLER}


BERT = Family(
    name="bert", class_prefixes=("Bert",), names=NAMES, read=read, optional=("pooler",),
    conventions=Conventions(eps=1e-12, eps_key="layer_norm_eps", activations=("gelu",),
                            fixed={"position_embedding_type": "absolute"}))
