"""One base for all exceptions."""

import importlib
import inspect
import pkgutil

import bitwright
from bitwright import compiler, fpga, hw, models, sim
from bitwright.models.errors import Error


def exceptions():
    """Every exception class that a module of the packages defines."""
    found = {}
    for top in (models, hw, sim, compiler, fpga):
        for info in pkgutil.walk_packages(top.__path__, f"{top.__name__}."):
            if info.name.endswith(("__main__", "_test")):   # a `_test` runs in a simulator alone
                continue
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if (inspect.isclass(value) and issubclass(value, BaseException)
                        and value.__module__ == info.name):
                    found[f"{info.name}.{name}"] = value
    return found


def test_every_exception_of_the_packages_has_the_one_base():
    found = exceptions()
    assert {name.rpartition(".")[2] for name in found} >= {
        "CheckpointError", "ConfigError", "FetchError", "ImageError", "MachineError", "PlanError",
        "SimulationError", "ToolError", "LinkError", "RegistryError", "PluginError"}
    assert [name for name, value in found.items() if not issubclass(value, Error)] == []


def test_a_built_in_class_catches_each_as_well():
    assert all(issubclass(value, (ValueError, RuntimeError, OSError))
               for value in exceptions().values() if value is not Error)


def test_the_interface_offers_the_base():
    assert bitwright.Error is Error
