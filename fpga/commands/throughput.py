"""The command ``throughput``."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.table import Table

from bitwright.fpga.benchmarks.throughput import GROUP, throughput
from bitwright.fpga.boards.registry import board
from bitwright.fpga.commands.fpga_options import BOARD_MACHINE, BoardName, console, write_json
from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.models.command_line.option_groups import Json, JsonFile, Seed
from bitwright.models.command_line.options_and_files import say

__all__ = ["GemmSizes", "throughput_command"]


@dataclass(frozen=True)
class GemmSizes:
    """The GEMM, and the weights that share a scale."""
    m: Annotated[int | None, typer.Option("-m", min=1, help="Tokens of the GEMM.")] = None
    k: Annotated[int | None, typer.Option("-k", min=1, help="Input features.")] = None
    n: Annotated[int | None, typer.Option("-n", min=1, help="Output channels.")] = None
    group: Annotated[int, typer.Option(
        "--group-size", "--group", min=0,
        help="Input features per scale, 0 for the whole channel.")] = GROUP


SIZES = GemmSizes()


def throughput_command(
    name: BoardName,
    where: MachineChoice = BOARD_MACHINE,
    sizes: GemmSizes = SIZES,
    seed: Seed = 1,
    out: JsonFile = None,
    as_json: Json = False,
) -> None:
    """Estimate GMAC/s on a board, and compare with the chip's DSP blocks.

    It takes W4, W2 and ternary weights: peak and in simulation, with the board's memory and with
    operands resident.
    """
    target = board(name)
    config = target.machine_of(where.machine, where.changes, where.pe)
    m_, k_, n_ = target.memory.gemm
    found = throughput(target, config, shape=(sizes.m or m_, sizes.k or k_, sizes.n or n_),
                       group=sizes.group, seed=seed,
                       say=say)
    write_json(out, found)
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
    out = console()
    out.print(table)
    dsps, group = found["dsps"], found["group_size"]
    out.print(
        f"GEMM {' x '.join(map(str, found['shape']))}, "
        f"{f'groups of {group}' if group else 'one group per channel'}; memory of "
        f"{found['machine']['memory_bits']} bits, operands resident: of "
        f"{found['resident_memory_bits']}")
    out.print(
        f"(…x): multiple of {dsps['blocks']} DSP blocks at {dsps['fmax_mhz']:g} MHz, "
        f"{dsps['gmac_per_s']:.2f} GMAC/s: one INT8 multiply-accumulate per block and cycle, "
        "placed and routed alone, none ever idle")
    if found["fmax_mhz"] is None:
        out.print("no bitstream of this machine is on record: its Fmax is not known")
