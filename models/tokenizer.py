"""Text to token ids, by a checkpoint's ``tokenizer.json``."""

from pathlib import Path
from typing import Any


class TextTokenizer:
    """Encodes text whole: no truncation, no padding, special tokens included.

    Parameters
    ----------
    path : path
        A ``tokenizer.json``, or the directory that holds it. ``FileNotFoundError`` if it is not
        there, ``ValueError`` if it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        from tokenizers import Tokenizer  # only needed where there is text

        file = Path(path)
        if file.is_dir():
            file = file / "tokenizer.json"
        if not file.is_file():
            raise FileNotFoundError(f"tokenizer must be a tokenizer.json, not {str(file)!r}")
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f"{file} is not a tokenizer: {error}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``."""
        return list(self._tokenizer.encode(text).ids)

    def decode(self, ids: list[int]) -> str:
        """Text of ``ids``, special tokens left out."""
        return str(self._tokenizer.decode(ids))
