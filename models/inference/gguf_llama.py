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
from bitwright.models.file_formats.gguf import GgufFile
from bitwright.models.inference.reference_llama import LlamaConfig

__all__ = ["GgufError", "GgufModel", "gguf_tokenizer"]

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
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"GGUF file {str(path)!r} is not there")
        with _clear(f"{path} is not a GGUF file, or is cut short"):
            self._file = GgufFile(self.path)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        kind, shape = self._file.dtype(name), self._file.shape(name)
        with (_clear(f"tensor {show(name)} of {self.path} cannot be read"),
              np.errstate(invalid="ignore", over="ignore")):
            rows = self._file.raw(name).reshape(*shape[:-1], -1)
            return np.asarray(dequantize(rows, GGMLQuantizationType[kind]), dtype=np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.names)

    def __len__(self) -> int:
        return len(self._file.names)

    def field(self, name: str) -> Any:
        """The value of a metadata key. :class:`GgufError` if there is none."""
        return _field(self._file, name)

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
                vocabulary=self._file.shape("token_embd.weight")[0],
                eps=float(self.field("llama.attention.layer_norm_rms_epsilon")),
                rope_base=float(self.field("llama.rope.freq_base")))

    def matrices(self) -> list[str]:
        """Names of the linear layers' tensors, embedding and head left out, in the file's order."""
        return [name for name in self._file.names
                if name.startswith("blk.") and not name.endswith("norm.weight")]

    def tokenizer(self) -> BytePairTokenizer:
        """The tokenizer of the file's own byte-pair tables; :class:`GgufError` for another kind."""
        return gguf_tokenizer(self._file)


def _field(file: GgufFile, name: str) -> Any:
    if name not in file.metadata:
        raise GgufError(f"{file.path} has no metadata key {name}")
    value = file.metadata[name]
    with _clear(f"metadata key {name} of {file.path} is damaged"):
        return file.array(name) if value is None else value


def gguf_tokenizer(file: GgufFile) -> BytePairTokenizer:
    """The tokenizer of a file's byte-pair tables; :class:`GgufError` for one of another kind."""
    kind = _field(file, "tokenizer.ggml.model")
    if kind != "gpt2":
        raise GgufError(f"{file.path} has a tokenizer of kind {show(kind)}; only gpt2 is read")
    with _clear(f"tokenizer of {file.path}"):
        types = _field(file, "tokenizer.ggml.token_type")
        return BytePairTokenizer(
            _field(file, "tokenizer.ggml.tokens"), _field(file, "tokenizer.ggml.merges"),
            _field(file, "tokenizer.ggml.pre"),
            [index for index, type_ in enumerate(types) if type_ == _CONTROL])
