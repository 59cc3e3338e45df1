import numpy as np
import pytest

import bitwright.compiler.runtime.image_weights
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.runtime.image_weights import ImageWeights
from bitwright.compiler.runtime.run_layer import matrix, stored_weights
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import gemm_spec, pack_weights
from bitwright.models.inference.golden import mpgemm
from tests.compiler.tiny import DOWN, QUERY

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def image(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("weights") / "bert"
    map_checkpoint(checkpoint, out, TINY, Options(tokens=1, group_size=16))
    return open_image(out)


@pytest.fixture
def reads(monkeypatch):
    """Names of the layers whose matrices are read."""
    names = []

    def read(image, op):
        names.append(op.name)
        return matrix(image, op)

    monkeypatch.setattr(bitwright.compiler.runtime.image_weights, "matrix", read)
    return names


def test_prepared_matrices_are_kept_as_far_as_memory_is_given(image, reads):
    a = np.random.default_rng(0).integers(-128, 128, (2, 24), dtype=np.int8)
    query = image.layer(QUERY)
    size = 8 * query.n * query.k
    key = image.layer(QUERY.replace("query", "key"))
    for limit, expected in ((0, [query, key] * 2), (size, [query, key, key]),
                            (2 * size, [query, key])):
        weights, exact = ImageWeights(image, limit), [mpgemm(a, matrix(image, op))
                                                      for op in (query, key)]
        reads.clear()
        for _ in range(2):
            for op, y in zip((query, key), exact, strict=True):
                np.testing.assert_array_equal(weights.prepared(op)(a), y)
        assert reads == [op.name for op in expected]


@pytest.mark.parametrize("tokens", [1, 2, 5, 40])
def test_packed_weights_are_those_of_the_plan(image, reads, tokens):
    weights, op = ImageWeights(image), image.layer(DOWN)
    qm = matrix(image, op)
    plan = plan_gemm(TINY, gemm_spec(TINY, tokens, qm))
    exact = pack_weights(plan, qm)
    for _ in range(2):
        found = weights.packed(op, plan)
        assert (found.weights, found.scales) == (exact.weights, exact.scales)
        np.testing.assert_array_equal(found.correction, exact.correction)
    assert reads == ([] if tokens == 1 else [DOWN])
    if tokens == 1:
        assert found.weights == stored_weights(image, op).weights


def test_packed_weights_are_dropped_where_they_are_too_many(image, reads):
    one, two = image.layer(DOWN), image.layer(QUERY)
    plans = {op: plan_gemm(TINY, gemm_spec(TINY, 4, matrix(image, op))) for op in (one, two)}
    sizes = {op: plan.stored_bytes + plan.scale_bytes for op, plan in plans.items()}
    weights = ImageWeights(image, packed_bytes=max(sizes.values()))
    for op in (one, one, two, one):
        weights.packed(op, plans[op])
    assert reads == [DOWN, QUERY, DOWN]
