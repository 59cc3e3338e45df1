"""The commands ``boards``, ``resources`` and ``program``."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bitwright.fpga.benchmarks.resource_samples import measure, tools
from bitwright.fpga.boards.board import Board
from bitwright.fpga.boards.registry import BOARDS, board
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.commands.fpga_options import BoardName, console
from bitwright.fpga.toolchain.loader import program
from bitwright.hw.machine.chip_resources import estimate, record, shortage, table_of
from bitwright.hw.machine.description import Machine
from bitwright.models.command_line.option_groups import Json
from bitwright.models.command_line.options_and_files import say

__all__ = ["list_boards", "program_board", "resources", "takes"]


def list_boards(as_json: Json = False) -> None:
    """List the boards, their chips, and the machine built for each by default."""
    rows: list[dict[str, Any]] = [
        {"board": each.name, "chip": each.chip, "luts": each.size.luts,
             "block_rams": each.size.rams, "dsps": each.size.dsps, "memory": each.memory.label,
             "memory_bytes": each.memory.bytes,
             "clock_mhz": each.clock_mhz, "link": f"UART, {each.baud:,} baud",
             "machine": each.preset().name,
             "one_bit_products_per_cycle": each.preset().one_bit_products,
             "takes": takes(each, each.preset())}
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
    console().print(table)


def takes(target: Board, machine: Machine) -> dict[str, Any] | None:
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
    """Compare the model of a machine's resources with the syntheses behind it.

    The error of each is that of the model fitted without it.
    """
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
    console().print(table)


def program_board(
    name: BoardName,
    folder: Annotated[Path, typer.Argument(help="Folder where build left the bitstream.")],
    as_json: Json = False,
) -> None:
    """Load a bitstream into a board that is plugged in."""
    command = program(board(name), folder)
    if as_json:
        print(json.dumps({"board": name, "command": [str(word) for word in command]}))
    else:
        print(f"loaded by {' '.join(command)}")
