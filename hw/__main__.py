"""``python -m hw``: Verilog of the core, the machines, the instruction table."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bitwright.hw.commands.command_table import HW
from bitwright.hw.isa.listing import isa_markdown, isa_text
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.machine.presets import machine as machine_of
from bitwright.hw.rtl.core.core import core_ports, core_verilog
from bitwright.models.command_line.options_and_files import overrides, write_text
from bitwright.models.command_line.program import run_program

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Verilog of the core, the machines, the instruction table.")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verilog(
        machine: Annotated[str, typer.Option(help="Preset, or a .toml or .json file.")],
        out: Annotated[Path, typer.Option(help="Verilog file to write.")],
        changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=(
            "Change a field of the machine; repeatable."))] = None,
        as_json: JsonFlag = False) -> None:
    """Write the whole core as Verilog: AXI4 manager, AXI4-Lite subordinate, one clock. The same
    machine gives the same bytes."""
    config = machine_of(machine, overrides(changes))
    ports = [{"name": name, "direction": direction, "width": width}
             for name, (direction, width) in core_ports(config).items()]
    write_text(out, core_verilog(config))
    if as_json:
        print(json.dumps({"machine": config.name, "identity": f"{config.identity():08x}",
                          "ports": ports, "parameters": config.to_dict()}, indent=2))
    else:
        print(f"{out}: machine {config.name}, identity {config.identity():08x}, "
              f"{len(ports)} ports")


@app.command()
def machines(as_json: JsonFlag = False) -> None:
    """List the machines that are known by name."""
    if as_json:
        print(json.dumps([preset.to_dict() for preset in PRESETS.values()], indent=2))
        return
    width = max(map(len, PRESETS))
    for name, config in PRESETS.items():
        print(f"{name:{width}}  {config.rows} x {config.cols} elements of {config.k_tile} "
              f"activations, {config.macs_per_cycle(4):g} W4A8 MAC/cycle, "
              f"{config.memory_bits}-bit memory, {config.table} tables")


@app.command()
def isa(markdown: Annotated[bool, typer.Option("--markdown", help="As docs/isa.md.")] = False
        ) -> None:
    """Print the instruction table."""
    print(isa_markdown() if markdown else isa_text(), end="")


def main() -> None:
    """Run the commands of hw."""
    run_program(HW, "python -m hw")


if __name__ == "__main__":
    main()
