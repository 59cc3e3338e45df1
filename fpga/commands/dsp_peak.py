"""The command ``dsp-peak``."""

import json

from rich.table import Table

from bitwright.fpga.benchmarks.dsp_peak import dsp_peak
from bitwright.fpga.commands.fpga_options import console, write_json
from bitwright.models.command_line.option_groups import Json, JsonFile, Seed
from bitwright.models.command_line.options_and_files import say

__all__ = ["peak"]


def peak(seed: Seed = 1, out: JsonFile = None, as_json: Json = False) -> None:
    """Measure ternary work of the whole array against the chip's DSP blocks."""
    found = dsp_peak(seed=seed, say=say)
    write_json(out, found)
    if as_json:
        print(json.dumps(found))
        return
    table = Table("figure", "value")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), f"{value:,.2f}" if isinstance(value, float)
                      else f"{value:,}" if isinstance(value, int) else str(value))
    console().print(table)
