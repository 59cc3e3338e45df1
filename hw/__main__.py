"""``python -m hw``: Verilog of the core, the machines, the instruction table."""

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hw.config import PRESETS, MachineError
from hw.config import machine as machine_of
from hw.core import core_ports, core_verilog
from hw.isa_text import isa_markdown, isa_text

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Verilog of the core, the machines, the instruction table.")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def overrides(pairs: list[str]) -> dict[str, str]:
    """``key=value`` texts as a mapping. Raises :class:`MachineError` for text without ``=``."""
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise MachineError(f"--set takes key=value, not {pair!r}")
        values[key.strip()] = value.strip()
    return values


def write_text(path: Path, text: str) -> None:
    """Write ``path`` whole or not at all. ``OSError`` names it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@app.command()
def verilog(
        machine: Annotated[str, typer.Option(help="Preset, or a .toml or .json file.")],
        out: Annotated[Path, typer.Option(help="Verilog file to write.")],
        changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=(
            "Change a field of the machine; repeatable."))] = None,
        as_json: JsonFlag = False) -> None:
    """Write the whole core as Verilog: AXI4 manager, AXI4-Lite subordinate, one clock. The same
    machine gives the same bytes."""
    config = machine_of(machine, overrides(changes or []))
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
    try:
        app()
    except (MachineError, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        typer.echo(f"error: {text}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
