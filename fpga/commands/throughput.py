"""The command that prints :mod:`bitwright.fpga.benchmarks.throughput`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bitwright.fpga.benchmarks.throughput import GROUP, throughput
from bitwright.fpga.boards.registry import BOARDS, board
from bitwright.hw.elements.element_option import Pe
from bitwright.models.command_line.options_and_files import overrides, say, write_text

__all__ = ["register"]

def throughput_command(
    name: Annotated[str, typer.Option("--board", help=f"One of {', '.join(BOARDS)}.")],
    machine: Annotated[str | None, typer.Option(
        help="A preset, or a .toml or .json file; the board's own without it.")] = None,
    pe: Pe = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a field of the machine; repeatable.")] = None,
    m: Annotated[int | None, typer.Option("-m", min=1, help="Tokens of the GEMM.")] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, help="Inputs.")] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Output channels.")] = None,
    group: Annotated[int, typer.Option(min=0, help="Weights per scale; 0: a channel.")] = GROUP,
    seed: Annotated[int, typer.Option(min=0, help="Of place and route of a DSP block.")] = 1,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
) -> None:
    """GMAC/s of W4, W2 and ternary weights on a board: peak and in simulation, with the board's
    memory and with operands resident, over what the chip's DSP blocks do."""
    target = board(name)
    config = target.machine_of(machine, overrides(settings), pe)
    m_, k_, n_ = target.memory.gemm
    found = throughput(target, config, shape=(m or m_, k or k_, n or n_), group=group, seed=seed,
                       say=say)
    if out is not None:
        write_text(out, json.dumps(found, indent=1) + "\n")
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)


def _rate(place: dict[str, Any], key: str) -> str:
    return "" if key not in place else "{gmac_per_s:.2f} ({multiple:.2f}x)".format_map(place[key])


def _print(found: dict[str, Any]) -> None:
    table = Table("weights", "clock", "MAC/cycle", "peak GMAC/s", "operands resident",
                  "of peak", "board's memory", "of peak", "memory busy")
    for row in found["rows"]:
        resident, real = row["runs"]["resident"], row["runs"]["board"]
        for key in row["peak"]:
            table.add_row(
                row["type"], f"{found[f'{key}_mhz']:g} MHz", f"{row['macs_per_cycle']:,.0f}",
                _rate(row["peak"], key), _rate(resident["rate"], key),
                f"{resident['efficiency']:.0%}", _rate(real["rate"], key),
                f"{real['efficiency']:.0%}", f"{real['memory_busy']:.0%}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    console.print(table)
    dsps, group = found["dsps"], found["group_size"]
    console.print(
        f"GEMM {' x '.join(map(str, found['shape']))}, "
        f"{f'groups of {group}' if group else 'one group per channel'}; memory of "
        f"{found['machine']['memory_bits']} bits, operands resident: of "
        f"{found['resident_memory_bits']}")
    console.print(
        f"(…x): multiple of {dsps['blocks']} DSP blocks at {dsps['fmax_mhz']:g} MHz, "
        f"{dsps['gmac_per_s']:.2f} GMAC/s: one INT8 multiply-accumulate per block and cycle, "
        "placed and routed alone, none ever idle")
    if found["fmax_mhz"] is None:
        console.print("no bitstream of this machine is on record: its Fmax is not known")


def register(app: typer.Typer) -> None:
    app.command("throughput")(throughput_command)
