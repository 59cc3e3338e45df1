"""Text to token ids, by a checkpoint's ``tokenizer.json`` or by byte-pair tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitwright.models.command_line.printable import show

__all__ = ["TOKENIZER_FILE", "BytePairTokenizer", "TextTokenizer"]

TOKENIZER_FILE = "tokenizer.json"


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
            file = file / TOKENIZER_FILE
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


class BytePairTokenizer:
    """Byte-level pair encoding from the tables of a GGUF file. Nothing is added to a text; a byte
    without a token, as control characters may be, is left out.

    Parameters
    ----------
    tokens : text of every token, by id, in the byte-level alphabet
    merges : "left right", best first
    rule : how text is cut before pairs are merged: ``smollm`` (single digits, then GPT-2's words)
        or ``gpt-2``. ``ValueError`` for another.
    special : ids of tokens that stand for themselves and are left out of decoded text
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[str], rule: str,
                 special: Sequence[int] = ()) -> None:
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        words = pre_tokenizers.ByteLevel(add_prefix_space=False)
        rules = {"smollm": pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True), words]), "gpt-2": words}
        if rule not in rules:
            raise ValueError(f"rule must be one of {', '.join(rules)}, not {show(rule)}")
        pairs = []
        for merge in merges:
            left, _, right = merge.partition(" ")
            pairs.append((left, right))
        try:
            self._tokenizer: Any = Tokenizer(models.BPE(
                vocab={token: index for index, token in enumerate(tokens)}, merges=pairs))
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f"byte-pair tables do not fit together: {error}") from None
        self._tokenizer.pre_tokenizer = rules[rule]
        self._tokenizer.decoder = decoders.ByteLevel()
        self._tokenizer.add_special_tokens(
            [AddedToken(tokens[index], special=True, normalized=False) for index in special])

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``."""
        return list(self._tokenizer.encode(text).ids)

    def decode(self, ids: list[int]) -> str:
        """Text of ``ids``, special tokens left out."""
        return str(self._tokenizer.decode(ids))

    def to_json(self) -> str:
        """The contents of a ``tokenizer.json`` that does the same."""
        return str(self._tokenizer.to_str())
