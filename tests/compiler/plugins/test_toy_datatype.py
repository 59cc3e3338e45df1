"""A datatype from one file, loaded by ``--plugin``."""

import json

import numpy as np

from tests.compiler.plugins.numbers import digest, random_activations
from tests.compiler.tiny import DOWN, FFN, HIDDEN, bert_tensors, write_checkpoint

PLUGIN, TOKENS = "toy_datatype.py", 3


def test_an_image_holds_the_datatype(bitwright, tmp_path):
    """Weights that are squares of whole numbers are exact, and ``run`` needs no plug-in."""
    roots = np.random.default_rng(3).integers(-7, 8, (HIDDEN, FFN))
    roots[:, 0] = 7
    values = np.sign(roots) * roots * roots
    tensors = bert_tensors() | {f"{DOWN}.weight": (values / 64).astype(np.float32)}
    checkpoint = write_checkpoint(tmp_path / "model", tensors)
    bitwright(PLUGIN, "map", checkpoint, "--machine", "tiny", "--pe", "mac", "--weights",
              "squares4", "--group-size", 0, "--tokens", TOKENS, "--out", "out")
    a = random_activations(tmp_path, TOKENS, FFN)
    found = json.loads(bitwright("", "run", "out", "--layer", DOWN, "--backend", "golden",
                                 "--input", "a.npy", "--json").stdout)
    assert found["sha256"] == digest(a @ values.T)


def test_formats_lists_it(bitwright):
    rows = json.loads(bitwright(PLUGIN, "formats", "--json").stdout)
    (row,) = (row for row in rows if row["name"] == "squares4")
    assert (row["bits"], row["min"], row["max"]) == (4, -49, 49)
    done = bitwright("", "formats", "squares4", status=2)
    assert "not 'squares4'" in done.stderr and done.stderr.count("\n") == 1
