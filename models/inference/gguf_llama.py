"""Reads Llama models from GGUF files by the ``gguf`` library: configuration, weights and tokenizer.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.models.assets.tokenizer import BytePairTokenizer
from bitwright.models.command_line.printable import show
from bitwright.models.errors import Error
from bitwright.models.inference.reference_llama import LlamaConfig

__all__ = ["GgufError", "GgufModel"]

_CONTROL = 3  # token type


class GgufError(Error, ValueError):
    """A file that is no GGUF model, or not one of a known kind. One line, for people."""


@contextmanager
def _clear(what: str) -> Iterator[None]:
    """Errors of the library, which come in many kinds, as one line that begins with ``what``."""
    try:
        yield
    except GgufError:
        raise
    except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError,
            NotImplementedError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        reason = "".join(char if char.isprintable() else "?" for char in lines[0][:200])
        raise GgufError(f"{what}: {reason}") from None


class GgufModel(Mapping[str, NDArray[np.float32]]):
    """A mapping from tensor name to float32 array, in NumPy's axis order (weights [N, K]).

    The file stays on disk (memory-mapped); every access dequantizes one tensor anew, and is a
    :class:`GgufError` for one that cannot be. Values may be other than finite.
    """

    def __init__(self, path: str | Path) -> None:
        from gguf import GGUFReader

        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"GGUF file {str(path)!r} is not there")
        with _clear(f"{path} is not a GGUF file, or is cut short"):
            self._reader = GGUFReader(self.path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        from gguf.quants import dequantize

        tensor = self._tensors[name]
        with (_clear(f"tensor {show(name)} of {self.path} cannot be read"),
              np.errstate(invalid="ignore", over="ignore")):
            return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def field(self, name: str) -> Any:
        """The value of a metadata key. :class:`GgufError` if there is none."""
        found = self._reader.get_field(name)
        if found is None:
            raise GgufError(f"{self.path} has no metadata key {name}")
        with _clear(f"metadata key {name} of {self.path} is damaged"):
            return found.contents()

    def config(self) -> LlamaConfig:
        """Sizes of a model of architecture ``llama``; :class:`GgufError` for another."""
        kind = self.field("general.architecture")
        if kind != "llama":
            raise GgufError(f"{self.path} is of architecture {show(kind)}; only llama is read")
        with _clear(f"sizes in the metadata of {self.path} are damaged"):
            heads, hidden = (int(self.field(f"llama.{name}"))
                             for name in ("attention.head_count", "embedding_length"))
            return LlamaConfig(
                layers=int(self.field("llama.block_count")), hidden=hidden, heads=heads,
                kv_heads=int(self.field("llama.attention.head_count_kv")), head=hidden // heads,
                vocabulary=len(self._tensors["token_embd.weight"].data),
                eps=float(self.field("llama.attention.layer_norm_rms_epsilon")),
                rope_base=float(self.field("llama.rope.freq_base")))

    def matrices(self) -> list[str]:
        """Names of the linear layers' tensors, embedding and head left out, in the file's order."""
        return [name for name in self._tensors
                if name.startswith("blk.") and not name.endswith("norm.weight")]

    def tokenizer(self) -> BytePairTokenizer:
        """By the file's own byte-pair tables; :class:`GgufError` for a tokenizer of another kind.
        """
        kind = self.field("tokenizer.ggml.model")
        if kind != "gpt2":
            raise GgufError(f"{self.path} has a tokenizer of kind {show(kind)}; only gpt2 is read")
        with _clear(f"tokenizer of {self.path}"):
            types = self.field("tokenizer.ggml.token_type")
            return BytePairTokenizer(
                self.field("tokenizer.ggml.tokens"), self.field("tokenizer.ggml.merges"),
                self.field("tokenizer.ggml.pre"),
                [index for index, type_ in enumerate(types) if type_ == _CONTROL])
