from functools import partial

import pytest

from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.hw.machine.presets import PRESETS
from tests.compiler.tiny import bert_tensors, call, write_checkpoint
from tests.compiler.whole import CONFIGS, write_tokenizer


@pytest.fixture
def command(capsys, monkeypatch):
    """``command("map", …)``: exit status, standard output, standard error."""
    return partial(call, capsys, monkeypatch)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), bert_tensors())


@pytest.fixture(scope="session")
def mapped(checkpoint, tmp_path_factory):
    """A tiny BERT for 5 tokens in groups of 16. Read only."""
    out = tmp_path_factory.mktemp("mapped") / "bert"
    map_checkpoint(checkpoint, out, PRESETS["tiny"], Options(tokens=5, group_size=16))
    return out


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    found = {}
    for name, (config, tensors) in CONFIGS.items():
        folder = tmp_path_factory.mktemp(name)
        found[name] = write_checkpoint(folder, tensors(), config)
        write_tokenizer(folder)
    return found


@pytest.fixture(scope="session")
def decoding(checkpoints, tmp_path_factory):
    """The Llama with programs for 4 tokens and for one. Read only."""
    out = tmp_path_factory.mktemp("decoding") / "llama"
    map_checkpoint(checkpoints["llama"], out, PRESETS["tiny"],
                   Options(tokens=4, group_size=8, decode=True))
    return out


@pytest.fixture(scope="session")
def images(checkpoints, tmp_path_factory):
    """By name; read only. The Llama is mapped for one token."""
    found = {}
    for name, checkpoint in checkpoints.items():
        found[name] = tmp_path_factory.mktemp("images") / name
        map_checkpoint(checkpoint, found[name], PRESETS["tiny"],
                       Options(tokens=1 if name == "llama" else 5, group_size=8))
    return found
