"""Registries that other people's code can add to, and the loading of that code."""

from bitwright.models.plugins.loading import PluginError, load_installed, load_plugin
from bitwright.models.plugins.registry import Registry, RegistryError

__all__ = ["PluginError", "Registry", "RegistryError", "load_installed", "load_plugin"]
