"""The demo on a model small enough for the tiny machine, and how the command line ends."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import bitwright.compiler.backends.rtl
import bitwright.compiler.commands.demo
import bitwright.compiler.commands.disasm
from bitwright.compiler.commands import terminal_report as show
from tests.compiler.tiny import DOWN, bert_tensors, write_checkpoint


class Words:
    """One token per word."""

    def __init__(self, folder):
        assert (folder / "model.safetensors").is_file()

    def encode(self, text):
        return [len(word) for word in text.split()]


@pytest.fixture
def demo(command, tmp_path, monkeypatch):
    tensors = bert_tensors(pooler=True)
    tensors[f"{DOWN}.bias"] += 100  # what the outputs must not forget
    write_checkpoint(tmp_path / "in", tensors)
    monkeypatch.setattr(bitwright.compiler.commands.demo,
                        "model_path", lambda name: tmp_path / "in")
    monkeypatch.setattr(bitwright.compiler.commands.demo, "TextTokenizer", Words)
    return lambda *more: command("demo", "--machine", "tiny", "--layer", DOWN, "--sentence",
                                 "one small model reads", "--out", tmp_path / "out", *more)


def test_demo(demo, tmp_path):
    code, out, _ = demo()
    assert code == 0
    for text in ("12 layers on tiny, lut elements, 4 tokens",
                 f"layer: {DOWN}, 4 x 40 x 24, 3,840 MACs",
                 "mismatching bits: 0 in 96 accumulators", "equal to the last bit and cycle"):
        assert text in out
    (cycles,) = [line for line in out.splitlines() if line.startswith("cycles: ")]
    rtl, model = cycles.removeprefix("cycles: RTL ").split(", cycle model ")
    assert rtl == model
    (quality,) = [line for line in out.splitlines() if "signal to noise" in line]
    assert float(quality.split()[-5]) > 30  # mostly bias
    assert (tmp_path / "out" / "manifest.json").exists()


def test_demo_fails_on_one_wrong_bit(demo, monkeypatch):
    run = bitwright.compiler.backends.rtl.run

    def flip(*arguments, **more):
        result = run(*arguments, **more)
        return dataclasses.replace(result, dump=bytes([result.dump[0] ^ 1]) + result.dump[1:])

    monkeypatch.setattr(bitwright.compiler.backends.rtl, "run", flip)
    code, out, _ = demo()
    assert code == 1 and "something differs" in out and "mismatches  1" in out
    assert "mismatching bits: 0 " not in out


def test_demo_of_an_unknown_layer(demo):
    code, _, err = demo("--layer", "absent")
    assert code == 1 and "'absent'" in err


def test_interrupt_ends_with_130(command, mapped, monkeypatch):
    def interrupt(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(bitwright.compiler.commands.disasm, "open_image", interrupt)
    assert command("disasm", mapped)[0] == 130


def test_progress_bar_hands_every_item_on(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with show.progress(False) as track:
        assert list(track((1, 2, 3), "quantize")) == [1, 2, 3]


def test_no_progress_without_a_terminal(capsys):
    with show.progress(False) as track:
        assert list(track((1, 2, 3), "quantize")) == [1, 2, 3]
    assert capsys.readouterr().err == ""


def test_own_process(mapped):
    done = subprocess.run([sys.executable, "-m", "compiler", "run", str(mapped), "--layer", "x"],
                          capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
