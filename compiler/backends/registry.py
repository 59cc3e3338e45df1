"""The backends by name."""

from bitwright.compiler.backends.backend import Backend
from bitwright.compiler.backends.models import CycleModel, Golden
from bitwright.compiler.backends.rtl import Rtl
from bitwright.models.plugins import Registry

__all__ = ["BACKENDS"]

BACKENDS: Registry[Backend] = Registry("backend", (Golden(), CycleModel(), Rtl()))
