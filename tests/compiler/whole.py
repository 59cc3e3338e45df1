"""Tiny models with a tokenizer, for tests that run them whole."""

import json

from tokenizers import Tokenizer, models, pre_tokenizers

from tests.compiler.tiny import BERT, LLAMA, bert_tensors, llama_tensors

WORDS = ["[UNK]", "a", "b", "c", "d", "e", "f", "g", "h", "i", "."]
TEXT = "a b c a ."
CONFIGS = {"bert": (BERT, bert_tensors), "llama": (LLAMA | {"eos_token_id": 10}, llama_tensors)}


def write_tokenizer(folder):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def call(command, *arguments):
    """What a command prints as JSON."""
    code, out, err = command(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)
