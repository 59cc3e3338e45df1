"""Loads plug-ins: Python files named by the user, and installed packages' entry points.

A plug-in is ordinary Python code that registers elements, families, layouts, backends or boards
when it is imported. It is loaded only where the user names its file or has installed its package,
never from a model's folder.
"""

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from bitwright.models.errors import Error

__all__ = ["GROUP", "PluginError", "load_installed", "load_plugin", "loaded_plugins"]

GROUP = "bitwright"  # the entry-point group of installed plug-ins


class PluginError(Error, RuntimeError):
    """A plug-in could not be loaded. One line, for people."""


def load_plugin(path: str | Path) -> ModuleType:
    """Run a plug-in file once and return its module. A file that is loaded already is not run
    again. Raises :class:`PluginError`."""
    file = Path(path).absolute()
    for module in sys.modules.values():
        if getattr(module, "__bitwright_plugin__", None) == str(file):
            return module
    if file.suffix != ".py" or not file.is_file():
        raise PluginError(f"--plugin {path}: is no Python file; give the path of a .py file")
    name = f"bitwright_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__bitwright_plugin__"] = str(file)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"--plugin {path}: {type(error).__name__}: {error}") from error
    return module


def loaded_plugins() -> list[str]:
    """Return the paths of the plug-in files that this process has loaded, for processes that it
    starts."""
    found = (getattr(module, "__bitwright_plugin__", None) for module in [*sys.modules.values()])
    return [path for path in found if isinstance(path, str)]


def load_installed() -> None:
    """Import every installed plug-in of the entry-point group. Raises :class:`PluginError`."""
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:
            raise PluginError(f"plug-in {point.name} ({point.value}): {type(error).__name__}: "
                              f"{error}") from error
