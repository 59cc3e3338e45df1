"""Every family's network against its forward pass in a straight line."""

import networkx as nx
import numpy as np
import pytest

from bitwright.models.architectures.families import FAMILIES, transformer
from bitwright.models.inference.arithmetic import FloatArithmetic
from bitwright.models.inference.network import Network
from tests.models.inference.families import CONFIGS, FORWARD, IDS, SEED, inputs, tensors

DECODERS = [family for family in CONFIGS if family != "vit"]


def network(family, dtype=np.float64, **changes):
    config = CONFIGS[family] | changes
    return Network(transformer(config), config, tensors(family), dtype=dtype)


def test_all_families_are_here():
    assert set(CONFIGS) | {"bert"} == set(FAMILIES)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-3)])
@pytest.mark.parametrize("family", CONFIGS)
def test_matches_the_straight_line(family, dtype, tolerance):
    weights = {name: tensor.astype(np.float64) for name, tensor in tensors(family).items()}
    expected = FORWARD[family](weights, inputs(family))
    found = network(family, dtype)(inputs(family))
    assert found.dtype == dtype and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0, err_msg=f"seed {SEED}")
    assert expected.std() > 0.1


@pytest.mark.parametrize("family", DECODERS)
def test_cache_gives_the_logits_of_a_full_pass(family):
    model = network(family)
    cache = model.arithmetic.cache()
    steps = [model(IDS[:2], cache), *(model(IDS[t:t + 1], cache) for t in range(2, len(IDS)))]
    np.testing.assert_allclose(np.concatenate(steps), model(IDS), atol=1e-10, rtol=0)


class Together(FloatArithmetic):
    """Keeps the names of layers that are run together."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.groups = []

    def linears(self, inputs):
        self.groups.append([*inputs])
        return super().linears(inputs)


# How many layers are run at a time, in one block of each family.
TOGETHER = {"phi": [4, 1, 1], "phi3": [1, 1, 1, 1], "gpt2": [1, 1, 1, 1], "opt": [3, 1, 1, 1],
            "vit": [3, 1, 1, 1], "mixtral": [3, 1, 8, 4]}


@pytest.mark.parametrize("family", CONFIGS)
def test_layers_that_do_not_read_one_another_run_together(family):
    config = CONFIGS[family]
    model, weights = transformer(config), tensors(family)
    together = Together(model, weights)
    net = Network(model, config, weights, together, dtype=np.float64)
    np.testing.assert_array_equal(net(inputs(family)), network(family)(inputs(family)))
    for group in together.groups:
        for name in group:
            assert not nx.ancestors(net.graph, name) & {*group}
    names = [name for group in together.groups for name in group]
    assert len(names) == len({*names})
    assert {*names} <= {linear.name for linear in model.linears()}
    block = TOGETHER.get(family, [3, 1, 2, 1])
    start = int(family == "vit")    # its patches come first
    assert [len(group) for group in together.groups][start:start + len(block)] == block


def test_experts_without_a_token_are_not_run():
    model, calls = network("mixtral"), []
    linear = model.arithmetic.linear
    model.arithmetic.linear = lambda name, x: calls.append((name, len(x))) or linear(name, x)
    model(IDS[:1])
    visits = [(name, count) for name, count in calls if ".experts." in name]
    assert len(visits) == 2 * 2 * 3 and {count for _, count in visits} == {1}


def test_pixels_refused():
    with pytest.raises(ValueError, match=r"pixels must be of shape \(3, 12, 12\), not \(12, 12\)"):
        network("vit")(np.zeros((12, 12)))


@pytest.mark.parametrize("family, change, words", [
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "inverse_layer_idx must be False"),
    ("gpt2", {"activation_function": "relu"}, "activation_function must be 'gelu_new'"),
    ("qwen2", {"use_sliding_window": True}, "use_sliding_window must be False, not True"),
    ("phi", {"partial_rotary_factor": 0.8}, "must be even, not 3"),
    ("phi", {"partial_rotary_factor": 2}, "partial_rotary_factor must be a number"),
    ("bitnet", {"hidden_act": "silu"}, "hidden_act must be 'relu2', not 'silu'"),
    ("vit", {"hidden_act": "relu"}, "hidden_act must be 'gelu'"),
])
def test_variants_refused(family, change, words):
    with pytest.raises(ValueError, match=f"^config: .*{words}"):
        network(family, **change)
