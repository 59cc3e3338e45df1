"""The command ``elements``."""

import json
from typing import Any

from bitwright.hw.elements import ELEMENTS
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.command_line.option_groups import Json

__all__ = ["element_rows", "elements"]


def _described(name: str) -> dict[str, Any]:
    element, machine = ELEMENTS[name], PRESETS["tiny"].with_pe(name)
    return {"name": name, "weights": element.form, "machine": machine.name,
            "activations": machine.k_tile, "summary": element.summary(machine),
            "slice_bits": machine.slice_bits, "sum_bits": machine.acc_bits,
            "circuit": element.circuit, "codec": element.codec}


def element_rows() -> list[dict[str, Any]]:
    """Return what is known of every element, as JSON values."""
    return [_described(name) for name in ELEMENTS]


def elements(as_json: Json = False) -> None:
    """List the processing elements, those of plug-ins included.

    Each is shown as the machine tiny has it.
    """
    rows = element_rows()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    width = max(map(len, ELEMENTS))
    for row in rows:
        print(f"{row['name']:{width}}  {row['weights']}, {row['activations']} activations: "
              f"{row['summary']}")
