"""Tokenizers on real text, against independent ones that follow the definitions."""

import random

import pytest

from bitwright.models.assets.fetch import model_path
from bitwright.models.assets.tokenizer import BytePairTokenizer, TextTokenizer
from bitwright.models.inference.gguf_llama import GgufModel
from tests.models.pieces import BytePairs, WordPieces, alphabet, words

# Contractions, runs of blanks, numbers of all kinds, scripts, accents, marks, emoji, odd spaces.
LINES = [
    "", " ", "  ", "\n", "\n\n \n", "a", " a", "a ", "  a  b   c    ", "\t\tx = 1;\r\n",
    "I'm he's they've we'll you'd don't they're I'M DON'T 'tis rock'n'roll ''s",
    "2024 3.14159 1,000,000 0x1F 10^-9 v2.0.1 ½ ² Ⅷ ٣٤ 四百", "A1b2C3 42nd",
    "naïve café Ångström İstanbul Straße ΣΊΣΥΦΟΣ ﬁancé e\u0301 \u0301x", "Привет, мир!",
    "日本語のテキスト、中文字符。 한국어 ไทย हिन्दी العربية עברית",
    "😀👍🏽 👨‍👩‍👧 ™ © … — – “quotes” «x»",
    "a\u00a0b\u2003c\u3000d\u200be\ufefff\u2028g\x85h", "def f(x):\n    return x**2  # square\n",
    "https://example.org/?q=a+b&c=%20#top user@host", "$100 €5 £3 100% #1 @x ~`!@#$%^&*()_+-={}[]|",
    "\\\"'<>?,./;:", "\x00\x01\x04\x7f\ufffd\U000e0041", "supercalifragilisticexpialidocious" * 4,
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|> <|endoftext|>x<|im_end", "[CLS] [SEP][MASK]a[UNK",
    "x" * 99 + " " + "x" * 100 + " " + "x" * 101, "\U0001f1e6\U00010400\U0002a700\U0010fffd",
]


def corpus():
    path = model_path("lee-background") / "lee_background.cor"
    return path.read_text(encoding="utf-8").splitlines()


def mixtures(seed, count):
    """Pieces of the lines above, put together anew."""
    print("seed", seed)
    rng = random.Random(seed)
    every = "".join(LINES)
    for _ in range(count):
        yield "".join(every[(at := rng.randrange(len(every))):at + rng.randint(1, 6)]
                      for _ in range(rng.randint(1, 12)))


def check(tokenizer, oracle, texts):
    for text in texts:
        assert tokenizer.encode(text) == oracle.encode(text), ascii(text)


@pytest.fixture(scope="module")
def smollm2():
    model = GgufModel(model_path("smollm2") / "model.gguf")
    tokens, merges = (model.field(f"tokenizer.ggml.{name}") for name in ("tokens", "merges"))
    special = [index for index, kind in enumerate(model.field("tokenizer.ggml.token_type"))
               if kind == 3]
    return model.tokenizer(), tokens, merges, special


def test_smollm2_on_articles(smollm2):
    tokenizer, tokens, merges, special = smollm2
    articles = corpus()
    check(tokenizer, BytePairs(tokens, merges, special, single_digits=True), articles)
    assert sum(len(tokenizer.encode(text)) for text in articles) == TOTAL_SMOLLM2
    assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in articles[:50])


@pytest.mark.parametrize("rule", ["smollm", "gpt-2"])
def test_byte_pairs_on_any_text(smollm2, rule):
    _, tokens, merges, special = smollm2
    tokenizer = BytePairTokenizer(tokens, merges, rule, special)
    oracle = BytePairs(tokens, merges, special, single_digits=rule == "smollm")
    check(tokenizer, oracle, [*LINES, *mixtures(7, 1500)])


TOTAL_SMOLLM2, TOTAL_MINILM = 75379, 73780  # tokens of all articles
SENTENCE = "In 2024, the SmolLM2 model didn't cost $1,000 – it was free!\n\n\tNaïve café 😀"
SMOLLM2_IDS = [788, 216, 34, 32, 34, 36, 28, 260, 3511, 308, 34519, 34, 1743, 3683, 982, 1708, 1885,
               33, 28, 32, 32, 32, 816, 357, 436, 1904, 17, 1116, 197, 26062, 46494, 37366, 40303,
               218]
CHAT_IDS = [1, 4093, 198, 26843, 2, 198]
MINILM_IDS = [101, 1999, 16798, 2549, 1010, 1996, 15488, 14511, 2213, 2475, 2944, 2134, 1005, 1056,
              3465, 1002, 1015, 1010, 2199, 1516, 2009, 2001, 2489, 999, 15743, 7668, 100, 102]


def test_smollm2_ids(smollm2):
    """As they were when both implementations agreed."""
    tokenizer = smollm2[0]
    assert tokenizer.encode(SENTENCE) == SMOLLM2_IDS
    assert tokenizer.decode(SMOLLM2_IDS) == SENTENCE
    assert tokenizer.encode("<|im_start|>user\nHi<|im_end|>\n") == CHAT_IDS


def test_a_byte_without_a_token_is_left_out(smollm2):
    """As in other implementations of these tables."""
    tokenizer, tokens, *_ = smollm2
    missing = [byte for byte, letter in enumerate(alphabet()) if letter not in tokens]
    assert 4 in missing and 32 not in missing
    assert tokenizer.encode("a\x04b") == tokenizer.encode("a") + tokenizer.encode("b")


def test_minilm_on_articles():
    folder = model_path("minilm")
    tokenizer = TextTokenizer(folder)
    oracle = WordPieces((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    articles = corpus()
    check(tokenizer, oracle, [*articles, *LINES, *mixtures(8, 1500)])
    assert sum(len(tokenizer.encode(text)) for text in articles) == TOTAL_MINILM
    assert tokenizer.encode(SENTENCE) == MINILM_IDS


def test_words_by_the_pattern():
    assert [*words("It's  3 apples,\n\n ok  ")] == ["It", "'s", " ", " 3", " apples", ",", "\n\n",
                                                  " ok", "  "]
    assert [*words("a\n b \n")] == ["a", "\n", " b", " \n"]
