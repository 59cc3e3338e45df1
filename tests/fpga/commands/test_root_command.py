"""The command ``bitwright``: every command, plug-ins, version, completion."""

import inspect
import os
import subprocess
import sys
from functools import partial

import pytest

from bitwright.fpga.commands.command_reference import command_reference
from bitwright.fpga.commands.root_command import BITWRIGHT, main
from bitwright.fpga.link.__main__ import main as link_main
from bitwright.models.command_line.command_table import Group
from bitwright.models.command_line.program import as_typer, plugin_files
from tests.command import call

COMMANDS = list(BITWRIGHT.commands())


@pytest.fixture
def command(capfd, monkeypatch):
    return partial(call, main, "bitwright", capfd, monkeypatch)


def test_help_lists_every_command(command):
    code, out, err = command("--help")
    assert (code, err) == (0, "")
    rows = [line.split()[0] for line in out.split("Commands:")[1].splitlines()
            if line.startswith("  ") and line[2] != " "]
    assert rows == [entry.name for entry in BITWRIGHT.entries]
    assert {"map", "run", "generate", "verify", "estimate", "formats", "build"} <= {*rows}
    groups = {entry.name for entry in BITWRIGHT.entries if isinstance(entry, Group)}
    assert groups == {"models", "hw", "sim", "fpga"}


@pytest.mark.parametrize("path, entry", COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_has_help(command, path, entry):
    assert inspect.isfunction(entry.load())
    code, out, err = command(*path, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: bitwright {' '.join(path)} ")


@pytest.mark.parametrize("path, entry", COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_is_of_one_style(path, entry):
    """The table's summary is the docstring's first line; all take --json; none is too wide."""
    function = entry.load()
    assert inspect.getdoc(function).splitlines()[0] == entry.summary
    assert len(inspect.signature(function).parameters) <= 8
    options = {name for each in as_typer(entry).params for name in each.opts}
    assert "--json" in options


def options_of_all():
    for path, entry in COMMANDS:
        for each in as_typer(entry).params:
            for name in each.opts:
                yield name, " ".join(path), each


@pytest.mark.parametrize("name", ["--set", "--pe", "--json", "--asymmetric", "--memory-latency",
                                  "--memory-interval", "--backend"])
def test_an_option_means_the_same_everywhere(name):
    found = {(each.help, each.metavar) for other, path, each in options_of_all()
             if other == name and path not in EXCEPTIONS.get(name, ())}
    assert len(found) == 1


# Filters by element, and the sweep's change of every machine.
EXCEPTIONS = {"--pe": ("fpga bench-pe",), "--set": ("sweep",)}


def test_one_command_of_the_link(capfd, monkeypatch):
    code, out, err = call(link_main, "link", capfd, monkeypatch, "--help")
    assert (code, err) == (0, "") and out.startswith("Usage: python -m fpga.link [OPTIONS]")


def test_version(command):
    code, out, err = command("--version")
    assert (code, err) == (0, "") and out.startswith("bitwright 0.")


def test_unknown_command(command):
    code, out, err = command("estimat")
    assert (code, out) == (2, "") and "Did you mean 'estimate'" in err


@pytest.mark.parametrize("where", ["before", "after", "equals"])
def test_a_plugin_is_loaded_before_the_command(command, tmp_path, where):
    """A plug-in may register what the command's options then accept."""
    file = tmp_path / f"plugin_{where}.py"
    file.write_text("import sys\nprint('loaded', file=sys.stderr)\n")
    rest = ("hw", "machines")
    arguments = {"before": ("--plugin", file, *rest), "after": (*rest, "--plugin", file),
                 "equals": (*rest, f"--plugin={file}")}[where]
    code, out, err = command(*arguments)
    assert (code, err) == (0, "loaded\n") and "ulx3s-85f" in out


def test_a_bad_plugin_is_one_line(command, tmp_path):
    code, out, err = command("--plugin", tmp_path / "none.py", "hw", "machines")
    assert (code, out) == (1, "") and err.startswith("error: --plugin ") and err.count("\n") == 1
    assert command("hw", "machines", "--plugin") == (
        2, "", "error: --plugin takes the path of a .py file\n")


def test_plugins_end_at_two_dashes():
    assert plugin_files(["a", "--plugin", "b.py", "--plugin=c.py", "--", "--plugin", "d.py"]) == (
        ["b.py", "c.py"], ["a", "--", "--plugin", "d.py"])


@pytest.mark.parametrize("words, expected", [("bitwright est", "estimate"),
                                             ("bitwright models for", "formats"),
                                             ("bitwright hw machines --js", "--json")])
def test_completion(words, expected):
    environment = {**os.environ, "_BITWRIGHT_COMPLETE": "complete_bash", "COMP_WORDS": words,
                   "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c",
         "from bitwright.fpga.commands.root_command import main; main()"],
        env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [expected], done.stderr


def test_the_reference_has_every_command(command):
    text = command_reference()
    for path, _ in COMMANDS:
        name = f"bitwright {' '.join(path)}"
        assert f"# {name}\n\n```text\nUsage: {name} " in text
    assert text == command_reference() and max(map(len, text.splitlines())) <= 100
