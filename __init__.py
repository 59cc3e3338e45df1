"""Bitwright takes a quantized transformer from checkpoint to bitstream.

The functions and classes here are the interface to program against. Each is loaded when it is
first used. They print nothing and raise only classes of :class:`Error`.

>>> import bitwright
>>> bitwright.estimate("16x256x256", "tiny")
Estimate(16x256x256 int4 on tiny: 66,234 cycles, 6,815 LUTs)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitwright.compiler.interface.checkpoint_reading import quantize, read_checkpoint
    from bitwright.compiler.interface.cost_estimates import estimate
    from bitwright.compiler.interface.layer_and_text_runs import run
    from bitwright.compiler.interface.machine_choice import machine
    from bitwright.compiler.interface.machine_sweeps import sweep
    from bitwright.compiler.interface.model_mapping import load_image, map_model
    from bitwright.compiler.interface.report_objects import load_report
    from bitwright.compiler.interface.verilog_export import export_verilog
    from bitwright.models.errors import Error

__all__ = ["Error", "estimate", "export_verilog", "load_image", "load_report", "machine",
           "map_model", "quantize", "read_checkpoint", "run", "sweep"]

_HOMES = {
    "Error": "models.errors", "estimate": "compiler.interface.cost_estimates",
    "export_verilog": "compiler.interface.verilog_export",
    "load_image": "compiler.interface.model_mapping",
    "load_report": "compiler.interface.report_objects",
    "machine": "compiler.interface.machine_choice",
    "map_model": "compiler.interface.model_mapping",
    "quantize": "compiler.interface.checkpoint_reading",
    "read_checkpoint": "compiler.interface.checkpoint_reading",
    "run": "compiler.interface.layer_and_text_runs",
    "sweep": "compiler.interface.machine_sweeps",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bitwright' has no attribute {name!r}")
    found = getattr(import_module(f"bitwright.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
