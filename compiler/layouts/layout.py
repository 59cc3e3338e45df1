"""Reads linear layers that a checkpoint stores in few bits: the base of every layout."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from bitwright.compiler.layouts.layer_tensors import Layer, Tensors
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.command_line.printable import show
from bitwright.models.file_formats.mapped_file import CheckpointError


class Layout:
    """The layout ``name``, configured by the checkpoint's ``quantization_config``.

    ``suffixes`` are the parts a layer may have, ``marks`` those that tell a quantized layer from
    one stored in floats; a suffix that starts with ``_`` follows the module's name without a dot.
    ``whole_tensors`` says that a layer's weight is one tensor of the layer's shape, which the file
    also reads in floats. ``datatypes`` and ``summary`` are for people.
    """
    name: ClassVar[str]
    summary: ClassVar[str] = ""
    datatypes: ClassVar[Sequence[str]] = ()
    whole_tensors: ClassVar[bool] = False
    suffixes: Sequence[str] = ()
    marks: Sequence[str] = ()

    def __init__(self, config: Mapping[str, Any]):
        self.config = config

    def layer(self, tensors: Tensors, module: str) -> Layer:
        return Layer(tensors, module, self.name, self.suffixes)

    def holds(self, tensors: Tensors, module: str) -> bool:
        """Say whether the layer ``module`` is stored in this layout."""
        layer = self.layer(tensors, module)
        return any(layer.has(mark) for mark in self.marks)

    def parts(self, tensors: Tensors, module: str) -> Collection[str]:
        """Names of the layer's tensors that are there."""
        layer = self.layer(tensors, module)
        return {layer.name(suffix) for suffix in self.suffixes if layer.has(suffix)}

    def read(self, tensors: Tensors, module: str, n: int, k: int) -> NativeMatrix:
        """The layer of ``n`` outputs and ``k`` inputs. Shapes and types are checked before
        anything is read; raises :class:`CheckpointError`."""
        raise NotImplementedError

    # ---- the configuration
    def refuse(self, key: str, known: Sequence[Any]) -> CheckpointError:
        found = self.config.get(key)
        return CheckpointError(f"quantization_config: {key} of {self.name} must be "
                               f"{' or '.join(map(str, known))}, which are read, "
                               f"not {show(found)}")

    def one_of(self, key: str, known: Sequence[Any], default: Any = None) -> Any:
        value = self.config.get(key, default)
        if not any(type(value) is type(each) and value == each for each in known):
            raise self.refuse(key, known)
        return value

    def group_size(self, key: str = "group_size") -> int:
        """Input features per scale; 0 for the whole channel (-1 in the file)."""
        value = self.config.get(key)
        if type(value) is not int or not (value == -1 or 0 < value <= 1 << 20):
            raise self.refuse(key, ("-1", f"1...{1 << 20}"))
        return max(value, 0)
