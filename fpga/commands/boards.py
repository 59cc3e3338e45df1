"""Commands about boards: list, build, program."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bitwright.fpga.benchmarks.resource_samples import measure, tools
from bitwright.fpga.boards.board import Board, BoardError
from bitwright.fpga.boards.registry import BOARDS, board
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.toolchain.bitstream_build import Built, build, write
from bitwright.fpga.toolchain.loader import program
from bitwright.hw.elements.element_option import Pe
from bitwright.hw.machine.chip_resources import estimate, record, shortage, table_of
from bitwright.hw.machine.description import Machine
from bitwright.models.command_line.options_and_files import overrides, say

__all__ = ["register"]

BoardName = Annotated[str, typer.Option("--board", help=f"One of {', '.join(BOARDS)}.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def list_boards(as_json: Json = False) -> None:
    """Boards, their chips, and the machine that is built for each without --machine."""
    rows: list[dict[str, Any]] = [
        {"board": each.name, "chip": each.chip, "luts": each.size.luts,
             "block_rams": each.size.rams, "dsps": each.size.dsps, "memory": each.memory.label,
             "memory_bytes": each.memory.bytes,
             "clock_mhz": each.clock_mhz, "link": f"UART, {each.baud:,} baud",
             "machine": each.preset().name,
             "one_bit_products_per_cycle": each.preset().one_bit_products,
             "takes": _takes(each, each.preset())}
            for each in BOARDS.values()]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("board", "chip", "LUTs", "block RAMs", "DSPs", "memory", "MHz", "link", "machine",
                  "1-bit products/cycle", "takes LUTs, RAMs, DSPs")
    for row in rows:
        table.add_row(row["board"], row["chip"], f"{row['luts']:,}", str(row["block_rams"]),
                      str(row["dsps"]), row["memory"], f"{row['clock_mhz']:g}", row["link"],
                      row["machine"], f"{row['one_bit_products_per_cycle']:,}",
                      "not known" if row["takes"] is None else
                      "{luts:,}, {rams}, {dsps}".format_map(row["takes"]))
    _console().print(table)


def _takes(target: Board, machine: Machine) -> dict[str, Any] | None:
    """Return the resources that ``machine`` and a memory on the chip take; None where nothing is
    known."""
    said = estimate(target.family, machine)
    if said is None:
        return None
    use = replace(said.use, rams=said.use.rams + target.memory_rams)
    return {**asdict(use), "error": round(said.error, 3), "measured": said.measured,
            "exceeded": shortage(target.size, use)}


def resources(
    measure_: Annotated[bool, typer.Option(
        "--measure", help="Synthesize all machines anew, and print the record for hw/.")] = False,
    as_json: Json = False,
) -> None:
    """The model of what machines take of a chip: the syntheses it is fitted to, and its error for
    each when that is left out of the fit."""
    if measure_:
        print(json.dumps(record(list(measure(say)), tools()), indent=1))
        return
    found = [row for family in CHIP_FAMILIES for row in table_of(family)]
    if as_json:
        print(json.dumps(found))
        return
    table = Table("family", "machine", "LUTs", "model", "error", "FF", "model", "RAMs", "model",
                  "DSPs", "model")
    for row in found:
        table.add_row(row["family"], row["machine"], *(
            f"{value:,}" for value in (row["luts"], row["luts_model"])),
            "alone" if row["error"] is None else f"{row['error']:+.1%}", *(
            f"{row[name]:,}" for name in ("ff", "ff_model", "rams", "rams_model", "dsps",
                                          "dsps_model")))
    _console().print(table)


def build_bitstream(
    name: BoardName,
    out: Annotated[Path | None, typer.Option(
        help="Folder for bitstream, report and log; build/BOARD without it.")] = None,
    machine: Annotated[str | None, typer.Option(
        help="A preset, or a .toml or .json file; the board's own without it.")] = None,
    pe: Pe = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a field of the machine; repeatable.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of place and route.")] = 1,
    as_json: Json = False,
) -> None:
    """A bitstream: synthesis, place and route, packing. What was done before is taken from the
    cache. Exit status 1 if the clock is not reached; the files are written all the same."""
    target = board(name)
    config = target.machine_of(machine, overrides(settings), pe)
    said = _takes(target, config)
    if said is None:
        say(f"no synthesis of such elements is on record for {target.family}: what it takes is "
             "not known")
    else:
        say(f"{config.name} takes {said['luts']:,} of {target.size.luts:,} LUTs, {said['rams']} "
             f"of {target.size.rams} block RAMs, {said['dsps']} of {target.size.dsps} multipliers, "
             + ("by synthesis" if said["measured"] else
                f"estimated within {said['error']:.0%}"))
        if said["exceeded"]:
            raise BoardError(f"{config.name} does not fit {target.name}: it takes "
                             f"{', '.join(said['exceeded'])}; take a larger board, or --set fewer "
                             "rows, cols or k_tile, or smaller depths")
    built = build(target, config, seed=seed, say=say)
    built.report["predicted"] = said
    folder = out or Path("build") / target.name
    write(built, folder)
    if as_json:
        print(json.dumps(built.report))
    else:
        _print(built, folder)
    if not built.report["met"]:
        raise typer.Exit(1)


def _print(built: Built, folder: Path) -> None:
    report = built.report
    kinds = sorted({kind for cells in report["blocks"].values() for kind in cells})
    table = Table("block", *kinds)
    for block, cells in report["blocks"].items():
        table.add_row(block, *(f"{cells.get(kind, 0):,}" for kind in kinds))
    console = _console()
    console.print(table)
    usage, most = report["usage"], report["available"]
    console.print(f"{report['board']}: {usage['total']:,} of {most['luts']:,} LUT4s, "
                  f"{usage['ebr']} of {most['ebr']} block RAMs, {usage['dsp']} of {most['dsp']} "
                  f"DSPs; {report['fmax_mhz']:.1f} MHz, clock {report['clock_mhz']:g} MHz: "
                  f"{'met' if report['met'] else 'NOT MET'}")
    if said := report["predicted"]:
        off = said["luts"] / usage["total"] - 1
        console.print(f"predicted: {said['luts']:,} LUT4s ({off:+.1%}), {said['rams']} block RAMs, "
                      f"{said['dsps']} DSPs")
    console.print(f"identity {report['identity']}; {report['one_bit_products_per_cycle']:,} 1-bit "
                  f"products a cycle; seconds: " + ", ".join(
                      f"{stage} {seconds:g}" for stage, seconds in report["seconds"].items()))
    console.print(f"written to {folder}")


def program_board(
    name: BoardName,
    folder: Annotated[Path, typer.Argument(help="Where build left the bitstream.")],
) -> None:
    """Load a bitstream into a board that is plugged in."""
    command = program(board(name), folder)
    print(f"loaded by {' '.join(command)}")


def register(app: typer.Typer) -> None:
    app.command("boards")(list_boards)
    app.command("build")(build_bitstream)
    app.command("resources")(resources)
    app.command("program")(program_board)
