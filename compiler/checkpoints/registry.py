"""Lists the kinds of files that hold a model.

:data:`CONTAINERS` is the registry. A plug-in adds a kind by ``CONTAINERS.register``.
"""

from bitwright.compiler.checkpoints.container import Container
from bitwright.compiler.checkpoints.gguf_container import GGUF
from bitwright.compiler.checkpoints.safetensors_container import SAFETENSORS, SHARDED
from bitwright.models.command_line.markdown import markdown_table
from bitwright.models.plugins.registry import Registry

__all__ = ["CONTAINERS", "containers_table"]

CONTAINERS: Registry[Container] = Registry("kind of checkpoint file",
                                           (SHARDED, SAFETENSORS, GGUF))
"""By name, built-in kinds first."""


def containers_table() -> str:
    """The kinds of checkpoint files as a Markdown table."""
    return markdown_table(("kind", "files", "in a folder"), (
        (kind.name, ", ".join(f"`*{suffix}`" for suffix in kind.suffixes),
         f"`{kind.in_folder}`" if kind.in_folder else "–") for kind in CONTAINERS.values()))
