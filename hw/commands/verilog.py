"""The command ``verilog``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.hw.rtl.core.core import core_ports, core_verilog
from bitwright.models.command_line.option_groups import Json
from bitwright.models.command_line.options_and_files import write_text

__all__ = ["verilog"]


def verilog(
    where: MachineChoice,
    out: Annotated[Path, typer.Option(help="Verilog file to write.")],
    as_json: Json = False,
) -> None:
    """Write the whole core as Verilog.

    It has an AXI4 manager port, an AXI4-Lite subordinate port and one clock. The same machine
    gives the same bytes.
    """
    config = where.read()
    ports = [{"name": name, "direction": direction, "width": width}
             for name, (direction, width) in core_ports(config).items()]
    write_text(out, core_verilog(config))
    if as_json:
        print(json.dumps({"machine": config.name, "identity": f"{config.identity():08x}",
                          "ports": ports, "parameters": config.to_dict()}, indent=2))
    else:
        print(f"{out}: machine {config.name}, identity {config.identity():08x}, "
              f"{len(ports)} ports")
