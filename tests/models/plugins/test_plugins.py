"""Registries and plug-in files."""

from types import SimpleNamespace

import pytest

from bitwright.models.plugins.loading import PluginError, load_plugin
from bitwright.models.plugins.registry import Registry, RegistryError


def test_a_registry_is_a_mapping_in_order():
    registry = Registry("fruit", [SimpleNamespace(name="pear")])
    apple = registry.register(SimpleNamespace(name="apple"))
    assert list(registry) == ["pear", "apple"] and registry["apple"] is apple
    assert "fig" not in registry and len(registry) == 2
    assert registry.get("apple") is apple and registry.get("fig") is None
    registry.unregister("pear")
    assert list(registry) == ["apple"]


def test_unknown_and_doubled_names():
    registry = Registry("fruit", [SimpleNamespace(name="pear"), SimpleNamespace(name="apple")])
    with pytest.raises(RegistryError) as unknown:
        registry["aple"]
    assert str(unknown.value) == "unknown fruit 'aple', did you mean 'apple'? known: pear, apple"
    with pytest.raises(RegistryError, match="^unknown fruit 'x'; known: pear, apple$"):
        registry["x"]
    with pytest.raises(RegistryError, match="'pear' is registered twice"):
        registry.register(SimpleNamespace(name="pear"))


def test_a_plugin_file_is_run_once(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("runs = []\nruns.append(1)\n")
    assert load_plugin(file) is load_plugin(str(file))
    assert load_plugin(file).runs == [1]


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(PluginError, match="is no Python file"):
        load_plugin(tmp_path / "absent.py")
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    with pytest.raises(PluginError, match="broken.py: ZeroDivisionError: division by zero"):
        load_plugin(broken)
