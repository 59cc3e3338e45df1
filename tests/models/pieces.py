"""Byte-pair and WordPiece tokenization from their definitions, a character at a time; slow."""

import string
import unicodedata
from functools import lru_cache

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
SPACES = {9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
          0x205F, 0x3000}  # White_Space of Unicode


def space(char):
    return ord(char) in SPACES


def kind(char):
    """Letter, number, space or other, as the pattern of GPT-2 tells them apart."""
    category = unicodedata.category(char)[0]
    return "space" if space(char) else category if category in "LN" else "other"


def words(text):
    """By the pattern of GPT-2:

    ``'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+``
    """
    at = 0
    while at < len(text):
        end = at
        short = next((part for part in CONTRACTIONS if text.startswith(part, at)), None)
        first = at + 1 if text[at] == " " and at + 1 < len(text) else at
        if short:
            end = at + len(short)
        elif not space(text[first]):
            end = first
            while end < len(text) and kind(text[end]) == kind(text[first]):
                end += 1
        else:
            while end < len(text) and space(text[end]):
                end += 1
            if end < len(text) and end - at > 1:
                end -= 1  # the last one goes with what follows
        yield text[at:end]
        at = end


def digits_apart(text):
    """Pieces in which every number character is alone."""
    piece = ""
    for char in text:
        if kind(char) == "N":
            yield from (piece, char) if piece else (char,)
            piece = ""
        else:
            piece += char
    if piece:
        yield piece


def alphabet():
    """A printable character for each byte: itself, or those from 256 on in turn."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


class BytePairs:
    def __init__(self, tokens, merges, special, single_digits):
        self.ids = {token: index for index, token in enumerate(tokens)}
        self.rank = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
        self.special = [tokens[index] for index in special]
        self.single_digits, self.letters = single_digits, alphabet()
        self.merged = lru_cache(maxsize=None)(self._merged)

    def _merged(self, word):
        """The pair of the least rank is joined, the leftmost first, until there is none."""
        parts = [self.letters[byte] for byte in word.encode()]
        while True:
            ranks = [self.rank.get(pair, len(self.rank))
                     for pair in zip(parts, parts[1:], strict=False)]
            if not ranks or min(ranks) == len(self.rank):
                return [self.ids[part] for part in parts if part in self.ids]
            at = ranks.index(min(ranks))
            parts[at:at + 2] = [parts[at] + parts[at + 1]]

    def encode(self, text):
        for token in self.special:
            before, found, after = text.partition(token)
            if found:
                return [*self.encode(before), self.ids[token], *self.encode(after)]
        pieces = digits_apart(text) if self.single_digits else [text]
        return [index for piece in pieces for word in words(piece) for index in self.merged(word)]


def chinese(char):
    return any(low <= ord(char) <= high for low, high in (
        (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)))


class WordPieces:
    """As BERT, uncased: clean, lower case without accents, words and punctuation, greedy pieces."""

    def __init__(self, vocabulary, special=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")):
        self.ids = {token: index for index, token in enumerate(vocabulary)}
        self.special = special

    def _normal(self, text):
        for char in text:
            control = unicodedata.category(char)[0] == "C" and char not in "\t\n\r"
            if not control and char != "\ufffd":
                yield " " if space(char) else f" {char} " if chinese(char) else char

    def _words(self, text):
        plain = unicodedata.normalize("NFD", "".join(self._normal(text)))
        word = ""
        for char in "".join(c.lower() for c in plain if unicodedata.category(c) != "Mn"):
            mark = char in string.punctuation or unicodedata.category(char)[0] == "P"
            if space(char) or mark:
                yield word
                yield char if mark else ""
                word = ""
            else:
                word += char
        yield word

    def _pieces(self, word):
        if len(word) > 100:
            return ["[UNK]"]
        found, at = [], 0
        while at < len(word):
            ends = (end for end in range(len(word), at, -1)
                    if "##" * (at > 0) + word[at:end] in self.ids)
            if (end := next(ends, 0)) == 0:
                return ["[UNK]"]
            found.append("##" * (at > 0) + word[at:end])
            at = end
        return found

    def _inner(self, text):
        places = [(text.find(token), token) for token in self.special if token in text]
        if places:
            at, token = min(places)
            return [*self._inner(text[:at]), token, *self._inner(text[at + len(token):])]
        return [piece for word in self._words(text) if word for piece in self._pieces(word)]

    def encode(self, text):
        return [self.ids[piece] for piece in ("[CLS]", *self._inner(text), "[SEP]")]
