"""Safetensors files: one, or several with an index. A ``config.json`` lies beside them."""

from bitwright.compiler.checkpoints.container import Container, Contents
from bitwright.compiler.file_formats.safetensors import SafetensorsFile
from bitwright.compiler.file_formats.sharded_safetensors import INDEX, ShardedFile

__all__ = ["SAFETENSORS", "SHARDED"]

SAFETENSORS = Container(name="safetensors", suffixes=(".safetensors",),
                        in_folder="model.safetensors",
                        open=lambda path: Contents(file=SafetensorsFile(path)))
SHARDED = Container(name="safetensors index", suffixes=(".json",), in_folder=INDEX,
                    open=lambda path: Contents(file=ShardedFile(path)))
