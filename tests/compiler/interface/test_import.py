"""``import bitwright``: light, and every name is there, documented and typed."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import bitwright
from bitwright.compiler import interface

HEAVY = ("numpy", "scipy", "amaranth", "typer", "rich", "networkx", "matplotlib")


def modules():
    return [importlib.import_module(f"{interface.__name__}.{info.name}")
            for info in pkgutil.iter_modules(interface.__path__)]


def test_importing_the_package_loads_nothing_heavy():
    script = ("import sys; before = set(sys.modules); import bitwright; dir(bitwright); "
              "print(*sorted(set(sys.modules) - before))")
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                            check=True).stdout.split()
    assert "bitwright" in loaded
    assert [name for name in loaded if name.startswith(("bitwright.", *HEAVY))] == []


def test_choosing_a_machine_loads_no_circuits():
    script = "import sys, bitwright; bitwright.machine('tiny'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                            check=True).stdout.split()
    assert "bitwright.hw.machine.presets" in loaded and "amaranth" not in loaded


def test_every_name_is_listed_and_documented():
    assert set(bitwright.__all__) <= set(dir(bitwright))
    for name in bitwright.__all__:
        found = getattr(bitwright, name)
        assert inspect.getdoc(found), name
        if inspect.isfunction(found):
            text = inspect.getdoc(found)
            assert ">>> " in text and "raises" in text.lower(), name


def test_every_parameter_and_result_has_a_type():
    for name in bitwright.__all__:
        found = getattr(bitwright, name)
        if inspect.isfunction(found):
            types = inspect.get_annotations(found)
            signature = inspect.signature(found)
            assert set(types) == {*signature.parameters, "return"}, name
            assert len(signature.parameters) <= 8, name


def test_an_unknown_name_is_not_there():
    assert hasattr(bitwright, "estimate") and not hasattr(bitwright, "nothing_here")


@pytest.mark.parametrize("module", [bitwright, *modules()], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0
