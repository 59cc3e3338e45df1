"""The command ``build``."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bitwright.fpga.boards.board import BoardError
from bitwright.fpga.boards.registry import board
from bitwright.fpga.commands.boards import takes
from bitwright.fpga.commands.fpga_options import BOARD_MACHINE, BoardName, console
from bitwright.fpga.toolchain.bitstream_build import Built, build, write
from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.models.command_line.option_groups import Json, Seed
from bitwright.models.command_line.options_and_files import say

__all__ = ["build_bitstream"]


def build_bitstream(
    name: BoardName,
    out: Annotated[Path | None, typer.Option(
        help="Folder for bitstream, report and log; build/BOARD if left out.")] = None,
    where: MachineChoice = BOARD_MACHINE,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Build a bitstream: synthesis, place and route, packing.

    The board's own machine is built without --machine. What was done before is taken from the
    cache. Exit status 1 if the clock is not reached; the files are written all the same.
    """
    target = board(name)
    config = target.machine_of(where.machine, where.changes, where.pe)
    said = takes(target, config)
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
    out = console()
    out.print(table)
    usage, most = report["usage"], report["available"]
    out.print(f"{report['board']}: {usage['total']:,} of {most['luts']:,} LUT4s, "
                  f"{usage['ebr']} of {most['ebr']} block RAMs, {usage['dsp']} of {most['dsp']} "
                  f"DSPs; {report['fmax_mhz']:.1f} MHz, clock {report['clock_mhz']:g} MHz: "
                  f"{'met' if report['met'] else 'NOT MET'}")
    if said := report["predicted"]:
        off = said["luts"] / usage["total"] - 1
        out.print(f"predicted: {said['luts']:,} LUT4s ({off:+.1%}), {said['rams']} block RAMs, "
                      f"{said['dsps']} DSPs")
    out.print(f"identity {report['identity']}; {report['one_bit_products_per_cycle']:,} 1-bit "
                  f"products a cycle; seconds: " + ", ".join(
                      f"{stage} {seconds:g}" for stage, seconds in report["seconds"].items()))
    out.print(f"written to {folder}")
