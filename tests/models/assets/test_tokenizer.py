import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from bitwright.models.assets.fetch import model_path
from bitwright.models.assets.tokenizer import TextTokenizer


@pytest.fixture
def directory(tmp_path):
    """A word-level tokenizer whose file asks for truncation to 2 and padding to 4."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_neither_truncates_nor_pads(directory):
    for path in (directory, directory / "tokenizer.json", str(directory)):
        tokenizer = TextTokenizer(path)
        assert tokenizer.encode("two one one three two") == [2, 1, 1, 0, 2]
        assert tokenizer.encode("one") == [1]
        assert tokenizer.encode("") == []
    assert tokenizer.decode([2, 1]) == "two one"


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a tokenizer.json, not .*absent"):
        TextTokenizer(tmp_path / "absent")


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_unreadable(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match="tokenizer.json is not a tokenizer: "):
        TextTokenizer(tmp_path)


def test_minilm():
    tokenizer = TextTokenizer(model_path("minilm"))
    assert tokenizer.encode("Hello, world!") == [101, 7592, 1010, 2088, 999, 102]
    assert len(tokenizer.encode("word " * 300)) == 302
    assert tokenizer.decode([101, 7592, 102]) == "hello"
