"""The command ``link-size``."""

import json

from bitwright.fpga.benchmarks.link_size import link_sizes
from bitwright.models.command_line.option_groups import Json
from bitwright.models.command_line.options_and_files import say

__all__ = ["link_size"]


def link_size(as_json: Json = False) -> None:
    """Measure the size and speed of the board's end of the link.

    It takes about three minutes of synthesis, place and route.
    """
    found = []
    for row in link_sizes(say):
        found.append(row)
        if not as_json:
            print(f"{row['device']}: {row['unit']}, {row['luts']:,} LUT4s or logic cells, "
                  f"{row['flip_flops']:,} flip-flops, {row['block_rams']} block RAMs, "
                  f"{row['fmax_mhz']} MHz", flush=True)
    if as_json:
        print(json.dumps(found))
