"""Finds the layout of a checkpoint's low-bit weights.

:data:`LAYOUTS` is the registry, by ``quant_method``. A plug-in adds a layout by decorating its
class with ``LAYOUTS.register``.
"""

from collections.abc import Mapping
from typing import Any

from bitwright.compiler.layouts.awq import Awq
from bitwright.compiler.layouts.bitnet import BitNet
from bitwright.compiler.layouts.bitsandbytes import BitsAndBytes
from bitwright.compiler.layouts.block_fp8 import BlockFp8
from bitwright.compiler.layouts.compressed_tensors import CompressedTensors
from bitwright.compiler.layouts.gguf_blocks import GgufBlocks
from bitwright.compiler.layouts.gptq import Gptq
from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.mxfp4 import Mxfp4
from bitwright.models.command_line.markdown import markdown_table
from bitwright.models.command_line.printable import show
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.plugins.registry import Registry

__all__ = ["LAYOUTS", "layout_of", "layouts_table"]

LAYOUTS: Registry[type[Layout]] = Registry("quant_method", (
    Gptq, Awq, CompressedTensors, BitNet, Mxfp4, BitsAndBytes, BlockFp8))


def layout_of(config: Mapping[str, Any]) -> Layout | None:
    """The layout that a ``config.json`` names in ``quantization_config``; None if it has none.
    Raises :class:`CheckpointError` for one that is not read."""
    found = config.get("quantization_config")
    if found is None:
        if config.get("compression_config") is not None:
            raise CheckpointError("config: compression_config, which older tools wrote, is not "
                                  "read; quantization_config is: save the checkpoint again with "
                                  "compressed-tensors")
        return None
    if not isinstance(found, Mapping):
        raise CheckpointError(f"config: quantization_config must be an object, not {show(found)}")
    method = found.get("quant_method")
    if not isinstance(method, str) or method not in LAYOUTS:
        raise CheckpointError(f"quantization_config: quant_method {show(method)} is not read; "
                              f"{', '.join(LAYOUTS)} are")
    return LAYOUTS[method](found)


def layouts_table() -> str:
    """The layouts, GGUF's block types among them, as a Markdown table."""
    known: list[type[Layout]] = [*LAYOUTS.values(), GgufBlocks]
    return markdown_table(("layout", "forms", "datatypes"), (
        (f"`{layout.name}`", layout.summary, ", ".join(f"`{name}`" for name in layout.datatypes))
        for layout in known))
