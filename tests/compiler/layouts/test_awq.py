import numpy as np
import pytest

from bitwright.models.file_formats.mapped_file import CheckpointError
from tests.compiler.layouts.build import check_held, read

CONFIG = {"quant_method": "awq", "version": "gemm", "bits": 4, "group_size": 32,
          "zero_point": True}
# Output of each nibble within a word, from the definition.
PLACES = [0, 2, 4, 6, 1, 3, 5, 7]


def words(values):
    """Rows of output values as words of eight."""
    return [[sum(int(row[8 * c + PLACES[i]]) << 4 * i for i in range(8))
             for c in range(len(row) // 8)] for row in values]


def made(n, k, size, seed):
    print("seed", seed)
    rng = np.random.default_rng(seed)
    groups = -(-k // size)
    q, z = rng.integers(0, 16, (k, n)), rng.integers(0, 16, (groups, n))
    scales = rng.uniform(0.01, 0.09, (groups, n)).astype(np.float16).astype(np.float64)
    want = np.array([[scales[i // size, o] * (int(q[i, o]) - int(z[i // size, o]))
                      for i in range(k)] for o in range(n)])
    return {"m.qweight": ("I32", words(q)), "m.qzeros": ("I32", words(z)),
            "m.scales": ("F16", scales)}, want, q


@pytest.mark.parametrize("n, k", [(16, 64), (8, 70), (40, 31)])
def test_every_value(tmp_path, n, k):
    tensors, want, q = made(n, k, 32, seed=n)
    found = read(tmp_path, CONFIG, tensors, n, k)
    assert (found.dequantize() == want).all()
    assert (found.codes[:, :k] == q.T ^ 8).all()
    check_held(found, exact=k <= 32)


def test_one_word_by_hand(tmp_path):
    """0x76543210: nibble 1 (value 1) is output 2, nibble 4 (value 4) is output 1."""
    tensors = {"m.qweight": ("I32", [[0x76543210]]), "m.qzeros": ("I32", [[0]]),
               "m.scales": ("F16", np.ones((1, 8)))}
    found = read(tmp_path, CONFIG | {"group_size": -1}, tensors, 8, 1)
    assert found.dequantize()[:, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


@pytest.mark.parametrize("change, text", [
    ({"version": "gemv"}, "version of awq must be gemm, which are read, not 'gemv'"),
    ({"zero_point": False}, "zero_point of awq must be True"),
    ({"bits": 3}, "bits of awq must be 4"), ({"group_size": None}, "group_size of awq"),
])
def test_unknown_settings_are_named(tmp_path, change, text):
    tensors, _, _ = made(8, 32, 32, seed=1)
    with pytest.raises(CheckpointError, match=text):
        read(tmp_path, CONFIG | change, tensors, 8, 32)


def test_outputs_that_fill_no_words(tmp_path):
    tensors, _, _ = made(8, 32, 32, seed=1)
    with pytest.raises(CheckpointError, match="12 output features are no multiple of 8"):
        read(tmp_path, CONFIG, tensors, 12, 32)
