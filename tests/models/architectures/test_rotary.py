"""Frequencies of rotary positions, by hand."""

import math

import pytest

from bitwright.models.architectures.families import ConfigError, transformer
from bitwright.models.architectures.numerics import numerics
from bitwright.models.architectures.rotary import frequencies
from tests.models.inference.families import CONFIGS


def test_plain_by_hand():
    assert frequencies({}, 4, 100.0, 1.0) == pytest.approx([1, 0.1])
    assert frequencies({"rope_theta": 16}, 8, 100.0, 0.5) == pytest.approx([1, 0.25])
    assert frequencies({"rope_parameters": {"rope_type": "default", "rope_theta": 16}}, 4, 100.0,
                       1.0) == pytest.approx([1, 0.25])


def test_scaled_by_hand():
    plain = frequencies({}, 6, 1000.0, 1.0)
    assert plain == pytest.approx([1, 0.1, 0.01])
    assert frequencies({"rope_scaling": {"type": "linear", "factor": 4.0}}, 6, 1000.0,
                       1.0) == pytest.approx([0.25, 0.025, 0.0025])
    assert frequencies({"rope_scaling": {"rope_type": "factors", "factors": [1, 2.0, 5]}}, 6,
                       1000.0, 1.0) == pytest.approx([1, 0.05, 0.002])


def test_llama3_by_hand():
    """Waves of 6.28, 62.8 and 628 tokens: below 100 / 4, between, above 100 / 1."""
    found = frequencies({"rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 100}}, 6, 1000.0, 1.0)
    share = (100 / (20 * math.pi) - 1) / 3
    assert found == pytest.approx([1, (1 - share) * 0.1 / 8 + share * 0.1, 0.01 / 8])


@pytest.mark.parametrize("scaling, words", [
    ({"type": "yarn"}, "one of default, linear, llama3, factors, not 'yarn'"), ("x", "not 'x'"),
    ({"type": "linear"}, "factor must be a number"), ({"type": []}, r"not \[\]"),
    ({"type": "factors", "factors": [1.0]}, "list of 3 numbers"),
    ({"type": "factors", "factors": [1, 0, 1]}, "factors must be a number between 0"),
    ({"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
      "original_max_position_embeddings": 100}, "high_freq_factor must be above"),
])
def test_refused(scaling, words):
    with pytest.raises(ConfigError, match=f"^config: .*{words}"):
        frequencies({"rope_scaling": scaling}, 6, 1000.0, 1.0)


def test_half_of_a_head_is_turned_in_phi_unless_it_says_otherwise():
    for change, turned in (({}, 4), ({"partial_rotary_factor": 0.25}, 2)):
        config = {key: value for key, value in CONFIGS["phi"].items()
                  if key != "partial_rotary_factor"} | {"num_attention_heads": 2} | change
        assert 2 * len(numerics(transformer(config), config).frequencies) == turned
