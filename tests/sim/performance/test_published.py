"""The published cycle model: every published integer, and small models by hand."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from bitwright.models.architectures.families import read_config, transformer
from bitwright.sim.performance.bitmod_hpca25 import (
    PUBLISHED,
    Operator,
    PublishedError,
    estimate_model,
    weight_bits,
)

SERIAL, FP16 = "bitmod-hpca25", "bitmod-hpca25-fp16"
FIGURES = [  # machine, bits, generated token, compute only, OPT-1.3B, Llama-2-7B
    (FP16, "16", False, False, 669_255_680, 3_156_574_208),
    (SERIAL, "6.0625", False, False, 336_236_544, 1_649_680_384),
    (SERIAL, "4.0625", False, False, 233_070_592, 1_202_921_472),
    (FP16, "16", True, False, 82_153_718, 413_518_608),
    (SERIAL, "6.0625", True, False, 31_220_054, 156_919_888),
    (SERIAL, "3.0625", True, False, 15_857_750, 79_493_200),
    (SERIAL, "6.0625", False, True, 330_731_520, 1_452_736_512),
    (SERIAL, "4.0625", False, True, 220_487_680, 968_491_008),
]
SMALL = {"model_type": "llama", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 10,
         "max_position_embeddings": 512}


@pytest.mark.parametrize("machine, bits, generate, compute_only, opt, llama", FIGURES)
def test_published_integers(command, machine, bits, generate, compute_only, opt, llama):
    for model, expected in (("opt-1.3b", opt), ("llama-2-7b", llama)):
        status, out, _ = command("published", "--machine", machine, "--model", model, "--tokens",
                                 "256", "--weights-bits", bits, "--json",
                                 *(["--generate"] if generate else []))
        assert status == 0
        assert json.loads(out)["compute_cycles" if compute_only else "cycles"] == expected


def rows(generate):
    found = estimate_model(PUBLISHED[SERIAL], transformer(SMALL), 4, generate, Fraction("3.0625"))
    return found, {row["name"]: (row["compute_cycles"], row["dram_cycles"]) for row in found.rows}


def test_grouped_queries_in_prefill_by_hand():
    # Two cycles per product (floor(3.0625) / 2, up); keys and values 4 wide; 256 bits are 32 bytes.
    found, each = rows(False)
    assert each == {
        "query": (4, 5),                # 2 steps of 4; (4 x 8 + 16 x 4 + 16 x 4) / 32 = 5
        "key": (4, 3), "value": (4, 3),  # 4 x 4 + 16 x 4 + 8 x 4 = 112
        "scores": (4, 10),              # [4, 8] at 16 bits, 16 rows: 64 + 8 x 16 + 8 x 16 = 320
        "values": (2, 9),               # [16, 4] at 16 bits, 4 rows: 128 + 8 x 4 + 32 x 4 = 288
        "attention_output": (4, 5),
        "ffn_gate": (4, 6), "ffn_up": (4, 6),  # 4 x 12 + 16 x 4 + 24 x 4 = 208
        "ffn_down": (6, 6),             # rows of ceil(12 x 3.0625 / 8) = 5 bytes: 200
        "lm_head": (4, 5)}              # 4 x 10 + 16 x 4 + 20 x 4 = 184
    assert found.cycles == 2 * (5 + 4 + 4 + 10 + 9 + 5 + 6 + 6 + 6) + 5
    assert found.compute_cycles == 2 * 36 + 4
    bounds = {row["name"]: row["bound"] for row in found.rows}
    assert bounds["ffn_down"] == "compute" and bounds["scores"] == "memory"
    assert [row["count"] for row in found.rows] == [2] * 9 + [1]


def test_grouped_queries_while_generating_by_hand():
    found, each = rows(True)
    assert each == {
        "query": (4, 2), "key": (4, 1), "value": (4, 1),
        "scores": (4, 1),               # [1, 8], 4 rows: 16 + 8 x 4 + 2 x 4 = 56
        "values": (2, 1),               # [4, 4], 1 row: 32 + 8 + 8 = 48
        "attention_output": (4, 2), "ffn_gate": (4, 2), "ffn_up": (4, 2), "ffn_down": (6, 2),
        "lm_head": (4, 2)}
    assert found.cycles == 2 * 36 + 4


BIG = Operator(name="big", n=512, k=1024, m=1, width=Fraction(1), rows=262_145,
               stationary_bits=Fraction(16))  # 1 MiB of weights, 512 KiB + 2 of inputs


def test_what_is_fetched_again():
    weights, buffer = 1 << 20, 1 << 19

    def fetched(operator):
        return operator.moved_bytes - 2 * operator.n * operator.rows

    # Inputs twice (for two buffers of weights) cost less than weights twice.
    assert fetched(BIG) == weights + 2 * (buffer + 2)
    # Three and a half buffers of inputs: weights four times.
    many = replace(BIG, rows=7 * buffer // 4)
    assert fetched(many) == min(4 * weights + 7 * buffer // 2, weights + 7 * buffer)
    assert fetched(replace(many, n=1024)) == 2 * weights + 14 * buffer
    # One and a half buffers of weights, two of inputs: weights twice.
    assert fetched(replace(BIG, n=384, rows=buffer)) == 2 * 3 * buffer // 2 + 2 * buffer
    # One of them exactly fills its buffer.
    assert fetched(replace(BIG, rows=262_144)) == weights + buffer
    assert fetched(replace(BIG, n=256)) == weights // 2 + buffer + 2
    assert replace(BIG, n=1, k=1, rows=1, stationary_bits=Fraction("3.0625")).moved_bytes == 5
    assert replace(BIG, n=1, k=1, rows=1, width=Fraction(5, 3)).moved_bytes == 2 + 4 + 2
    assert replace(BIG, n=1, k=8, rows=7).dram == 1      # 16 + 14 + 14 = 44 bytes, rounded down
    assert replace(BIG, n=1, k=18, rows=7).dram == 2     # 64 bytes


@pytest.mark.parametrize("text, cycles", [("3.99", 2), ("4", 2), ("4.9", 2), ("5", 3), ("2.9", 1),
                                          ("1", 1), ("16", 8), ("6.0625", 3), (None, 3)])
def test_cycles_per_product(text, cycles):
    machine = PUBLISHED[SERIAL]
    assert machine.passes(weight_bits(machine, text)) == cycles


def test_weight_bits_are_exact():
    assert weight_bits(PUBLISHED[SERIAL], "4.1") == Fraction(41, 10)
    assert weight_bits(PUBLISHED[FP16], None) == 16
    for text in ("0.9", "16.1", "x", "-4", "nan", "1e3", ""):
        with pytest.raises(PublishedError, match="--weights-bits"):
            weight_bits(PUBLISHED[SERIAL], text)
    with pytest.raises(PublishedError, match="bitmod-hpca25"):
        weight_bits(PUBLISHED[FP16], "6")


@pytest.mark.parametrize("model", ["vit-b-16", "bert-base", "mixtral-8x7b"])
def test_models_that_it_does_not_cover(model):
    with pytest.raises(PublishedError, match="dense language models"):
        estimate_model(PUBLISHED[SERIAL], transformer(read_config(model)), 256, False, Fraction(4))


@pytest.mark.parametrize("missing", ["hidden_size", "intermediate_size", "num_hidden_layers",
                                     "num_attention_heads", "vocab_size",
                                     "max_position_embeddings"])
def test_a_configuration_that_lacks_a_field(command, tmp_path, missing):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value for key, value in SMALL.items() if key != missing}))
    status, out, err = command("published", "--model", str(path))
    assert (status, out) == (1, "") and err == f"error: config: {missing} is missing\n"


def test_table(command):
    status, out, _ = command("published", "--model", "opt-1.3b")
    assert status == 0 and "total 336,236,544 cycles; compute only 330,731,520" in out
    for name in ("query", "scores", "values", "ffn_up", "lm_head", "50272", "memory", "compute"):
        assert name in out
    assert command("published", "--model", "opt-1.3b", "--machine", "tpu")[0] == 2
    assert command("published", "--model", "opt-1.3b", "--tokens", "0")[0] == 2
