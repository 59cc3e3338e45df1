"""The command ``sdram``."""

import json
from typing import Annotated

import typer
from rich.table import Table

from bitwright.fpga.commands.fpga_options import console, write_json
from bitwright.fpga.soc import sdram_timing
from bitwright.fpga.verification.sdram_traffic import BURST
from bitwright.fpga.verification.sdram_traffic import bench as bench_sdram
from bitwright.models.command_line.option_groups import Json, JsonFile, Seed
from bitwright.models.command_line.options_and_files import say

__all__ = ["sdram"]


def sdram(
    clock_mhz: Annotated[float, typer.Option(
        "--clock", min=sdram_timing.LEAST_MHZ, max=sdram_timing.MOST_MHZ,
        help="Clock of the controller in MHz.")] = 100,
    burst: Annotated[int, typer.Option(min=1, max=256, help="Beats of a burst.")] = BURST,
    seed: Seed = 1,
    out: JsonFile = None,
    as_json: Json = False,
) -> None:
    """Measure the SDRAM controller against a checking model of the chip."""
    found = bench_sdram(clock_mhz=clock_mhz, burst=burst, seed=seed, say=say)
    write_json(out, found)
    if as_json:
        print(json.dumps(found))
        return
    table = Table("traffic", "beats per cycle", "MB/s")
    for kind, share in found["efficiency"].items():
        table.add_row(kind, f"{share:.1%}", f"{found['mb_per_s'][kind]:.1f}")
    shown = console()
    shown.print(table)
    shown.print("cycles from a read's address to its first beat: " + ", ".join(
        f"{name.replace('_', ' ')} {cycles}" for name, cycles in found["latency"].items()))
