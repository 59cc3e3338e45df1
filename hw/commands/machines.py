"""The command ``machines``."""

import dataclasses
import json
import textwrap
from typing import Annotated, Any

import typer

from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.command_line.option_groups import Json

__all__ = ["machine_fields", "machines"]

WIDTH = 100


def machine_fields() -> list[dict[str, Any]]:
    """Every field of a machine: name, meaning, default and range, as JSON values."""
    return [{"name": field.name, "meaning": field.metadata["meaning"], "default": field.default,
             "range": _range(field.metadata), "among": (
                 None if field.metadata["among"] is None else list(field.metadata["among"])),
             "within": field.metadata["within"]} for field in dataclasses.fields(Machine)]


def _range(limits: Any) -> str:
    if limits["among"] is not None:
        return ", ".join(map(str, limits["among"]))
    if limits["within"] is None:
        return "any text"
    low, high = limits["within"]
    return f"{low} to {high}" + (", a power of two" if limits["power_of_two"] else "")


def machines(
    fields: Annotated[bool, typer.Option(
        "--fields", help="List only the fields of a machine.")] = False,
    as_json: Json = False,
) -> None:
    """List the machines known by name, and the fields of a machine.

    With --json it lists the machines, and with --fields too it lists the fields.
    """
    if as_json:
        print(json.dumps(machine_fields() if fields else
                         [preset.to_dict() for preset in PRESETS.values()], indent=2))
        return
    if not fields:
        _print_presets()
    _print_fields()


def _print_presets() -> None:
    width = max(map(len, PRESETS))
    print("Presets, for --machine:")
    for name, config in PRESETS.items():
        print(f"  {name:{width}}  {config.rows} x {config.cols} elements of {config.k_tile} "
              f"activations, {config.macs_per_cycle(4):g} W4A8 MAC/cycle, "
              f"{config.memory_bits}-bit memory, {config.table} tables")
    print()


def _print_fields() -> None:
    print("Fields, for --set FIELD=VALUE or a .toml file:")
    rows = machine_fields()
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        text = f"{row['meaning']}; {row['range']}; default {row['default']}"
        print(textwrap.fill(text, WIDTH, initial_indent=f"  {row['name']:{width}}  ",
                            subsequent_indent=" " * (width + 4)))
