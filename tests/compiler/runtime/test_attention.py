"""Attention on the array against its definition in plain integer loops."""

from types import SimpleNamespace

import numpy as np
import pytest

from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.runtime.kv_cache import CodeCache
from bitwright.compiler.runtime.launcher import Launches
from bitwright.hw.machine.presets import PRESETS

TINY = PRESETS["tiny"]


class Recorder(Launches):
    """Keeps the products that are launched."""

    def __init__(self, machine=TINY):
        super().__init__(machine)
        self.seen = []

    def launch(self, *products):
        self.seen += products
        super().launch(*products)


def rows(rng, tokens, heads, head):
    return rng.normal(size=(tokens, heads, head)).astype(np.float32)


def integers(row, limit):
    """A row to integers by its greatest magnitude: values and the size of a step."""
    step = max(max(abs(float(v)) for v in row), 1e-5) / limit
    return [max(-limit - 1, min(limit, round(float(v) / step))) for v in row], step


def filled(cache, rng, chunks, kv_heads, head, layer=0):
    keys, values = [], []
    for tokens in chunks:
        key, value = rows(rng, tokens, kv_heads, head), rows(rng, tokens, kv_heads, head)
        cache.extend(layer, key, value)
        keys.append(key)
        values.append(value)
    return np.concatenate(keys), np.concatenate(values)


# heads, key heads, head width, chunks of tokens, new query tokens
CASES = [(2, 2, 8, (5,), 5), (6, 2, 8, (3, 1, 1), 1), (4, 1, 24, (7,), 3), (1, 1, 5, (1,), 1),
         (3, 3, 20, (2, 9), 4)]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("act_bits", [4, 8, 16])
def test_scores_are_the_integer_definition(case, act_bits):
    heads, kv_heads, head, chunks, tokens = case
    seed = 100 + act_bits
    rng = np.random.default_rng(seed)
    launches = Recorder(TINY.replace(act_bits=act_bits))
    cache = CodeCache(launches, KeyForm(), 1)
    keys, _ = filled(cache, rng, chunks, kv_heads, head)
    query = rows(rng, tokens, heads, head)
    found = cache.scores(0, query)
    assert found.shape == (heads, tokens, len(keys)) and found.dtype == np.float32
    limit = (1 << act_bits - 1) - 1
    for h in range(heads):
        own = h // (heads // kv_heads)
        for t in range(tokens):
            a, sx = integers(query[t, h], limit)
            for s in range(len(keys)):
                # Steps of int8 weights put the greatest magnitude at 128; codes end at 127.
                step = max(abs(float(v)) for v in keys[s, own]) / 128
                w = [min(127, round(float(v) / step)) for v in keys[s, own]]
                y = sum(x * c for x, c in zip(a, w, strict=True))
                assert found[h, t, s] == np.float32(sx * step * y) or np.isclose(
                    found[h, t, s], sx * step * y, rtol=1e-6), (seed, h, t, s)
    assert launches.by_operator["attention_scores"].products == kv_heads


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_are_the_integer_definition(case):
    heads, kv_heads, head, chunks, tokens = case
    rng = np.random.default_rng(7)
    cache = CodeCache(Recorder(), KeyForm(), 1)
    _, values = filled(cache, rng, chunks, kv_heads, head)
    weights = rng.random((heads, tokens, len(values))).astype(np.float32)
    weights /= weights.sum(axis=2, keepdims=True)
    found = cache.values(0, weights)
    assert found.shape == (tokens, heads, head) and found.dtype == np.float32
    for h in range(heads):
        own = h // (heads // kv_heads)
        steps = [max(abs(float(v)) for v in row[own]) / 128 for row in values]
        codes = [[min(127, round(float(v) / step)) for v in row[own]]
                 for row, step in zip(values, steps, strict=True)]
        for t in range(tokens):
            a, sx = integers([w * step / max(steps) for w, step in zip(
                weights[h, t].astype(float), steps, strict=True)], 127)
            for d in range(head):
                y = sum(x * code[d] for x, code in zip(a, codes, strict=True))
                assert np.isclose(found[t, h, d], sx * max(steps) * y, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("form", [KeyForm(), KeyForm("int4"), KeyForm("int8", 6),
                                  KeyForm("int4", 0)], ids=str)
def test_products_are_of_the_matrices_launched(form):
    """What the model goes on with is what the packed matrix gives; close to floats, too."""
    rng = np.random.default_rng(8)
    launches = Recorder()
    cache = CodeCache(launches, form, 2)
    keys, values = filled(cache, rng, (4, 3), 2, 20, layer=1)
    query = rows(rng, 2, 4, 20)
    scores = cache.scores(1, query)
    weights = rng.random((4, 2, 7)).astype(np.float32)
    mixed = cache.values(1, weights)
    assert [p.operator for p in launches.seen] == ["attention_scores"] * 2 + [
        "attention_values"] * 2
    kept = cache._of(1)
    matrices = [cache._key_matrix(kept, 0), cache._key_matrix(kept, 1),
                cache._value_matrix(kept, 0), cache._value_matrix(kept, 1)]
    for product, qm in zip(launches.seen, matrices, strict=True):
        y = [[sum(int(x) * int(w) for x, w in zip(a, row[:qm.k_logical], strict=True))
              for row in qm.effective] for a in product.a]
        assert product.y.tolist() == y
        assert (product.spec.m, product.spec.k, product.spec.n) == (4, qm.k_logical, qm.n)
    coarse = 0.2 if form.name == "int4" else 0.02
    exact = np.einsum("thd,shd->hts", query, keys.repeat(2, axis=1))
    assert np.abs(scores - exact).max() < coarse * np.abs(exact).max()
    exact = np.einsum("hts,shd->thd", weights, values.repeat(2, axis=1))
    assert np.abs(mixed - exact).max() < coarse * np.abs(exact).max()


@pytest.mark.parametrize("form", [KeyForm(), KeyForm("int4", 4)], ids=str)
def test_codes_never_change_as_the_cache_grows(form):
    rng = np.random.default_rng(9)
    keys, values = rows(rng, 6, 2, 8), rows(rng, 6, 2, 8) * 10.0 ** np.arange(-3, 3)[:, None, None]
    whole, grown = (CodeCache(Recorder(), form, 1) for _ in range(2))
    whole.extend(0, keys, values.astype(np.float32))
    for t in range(6):
        assert grown.tokens == t
        grown.extend(0, keys[t:t + 1], values[t:t + 1].astype(np.float32))
    for name, array in vars(whole._of(0)).items():
        np.testing.assert_array_equal(array, getattr(grown._of(0), name), err_msg=name)
    query = rows(rng, 1, 4, 8)
    np.testing.assert_array_equal(whole.scores(0, query), grown.scores(0, query))


def test_small_scales_keep_their_bits():
    """Weights of a long text are small, and so may values be: neither is lost to a floor."""
    rng = np.random.default_rng(10)
    cache = CodeCache(Recorder(), KeyForm(), 1)
    value = rows(rng, 200, 1, 8) * np.float32(1e-4)
    cache.extend(0, rows(rng, 200, 1, 8), value)
    weights = np.full((1, 1, 200), 1 / 200, dtype=np.float32)
    exact = value.mean(axis=0)
    assert np.abs(cache.values(0, weights)[0] - exact).max() < 0.02 * np.abs(value).max()


@pytest.mark.parametrize(("act_bits", "tokens", "bits"), [
    (8, 10_000, 8), (16, 500, 16), (16, 1000, 15), (16, 2000, 14), (8, 200_000, 7)])
def test_weights_take_fewer_bits_where_sums_would_overflow(act_bits, tokens, bits):
    assert KeyForm().weight_bits(tokens, act_bits) == bits
    assert tokens * 128 << bits - 1 < 1 << 31 and (
        bits == act_bits or tokens * 128 << bits >= 1 << 31)


@pytest.mark.parametrize("name", ["int8", "int4"])
@pytest.mark.parametrize("act_bits", [4, 8, 16])
@pytest.mark.parametrize("head", [5, 64, 100, 256])
def test_scores_fit_an_accumulator_with_as_many_scale_bits_as_there_can_be(name, act_bits, head):
    bits = KeyForm(name).scale_bits(head, act_bits)
    code = {"int8": 128, "int4": 8}[name]

    def worst(bits):
        return head * code * (1 << act_bits - 1) * ((1 << bits) - 1)

    assert worst(bits) < 1 << 31 and (bits == 8 or worst(bits + 1) >= 1 << 31)


def test_groups_of_keys():
    assert [KeyForm("int8").group(head) for head in (64, 24)] == [64, 24]
    assert [KeyForm("int4").group(head) for head in (64, 24)] == [32, 24]
    assert KeyForm("int4", 0).group(64) == 64 and KeyForm("int8", 16).group(64) == 16


def test_what_does_not_fit_is_refused():
    wide = SimpleNamespace(machine=TINY.replace(act_bits=16))
    cache = CodeCache(wide, KeyForm(), 1)
    with pytest.raises(ValueError, match="use --kv int4 or --kv float"):
        cache.extend(0, np.ones((1, 1, 1024), np.float32), np.ones((1, 1, 1024), np.float32))
    with pytest.raises(ValueError, match="200000000 tokens"):
        KeyForm().weight_bits(200_000_000, 8)
    with pytest.raises(ValueError, match="holds no keys"):
        cache.scores(0, np.ones((1, 1, 4), np.float32))
    with pytest.raises(ValueError, match="int8 or int4"):
        KeyForm("int3")
    with pytest.raises(ValueError, match="positive"):
        KeyForm("int8", -1)


@pytest.mark.parametrize(("form", "act_bits"), [(KeyForm(), 8), (KeyForm("int4", 6), 8),
                                                (KeyForm(), 16)], ids=str)
def test_rtl_gives_the_same_bits_in_the_same_cycles(form, act_bits):
    rng = np.random.default_rng(11)
    with Launches(TINY.replace(act_bits=act_bits), "rtl") as launches:
        cache = CodeCache(launches, form, 1)
        for tokens in (3, 1):   # a prompt, then a token
            cache.extend(0, rows(rng, tokens, 2, 10), rows(rng, tokens, 2, 10))
            query = rows(rng, tokens, 6, 10)
            cache.values(0, np.abs(cache.scores(0, query)))
    total = launches.totals
    assert (total.products, total.launches) == (8, 4)
    assert launches.good and launches.first_difference is None
    assert total.rtl_cycles == total.cycles > 0 and total.rtl_engines == total.engines
