"""The options that choose a machine: ``--machine``, ``--set``, ``--pe``."""

from dataclasses import dataclass
from typing import Annotated

import typer

from bitwright.hw.elements.element_option import Pe
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import machine as read_machine
from bitwright.models.command_line.options_and_files import overrides

__all__ = ["MachineChoice"]


@dataclass(frozen=True)
class MachineChoice:
    """Which machine a command works on."""
    machine: Annotated[str | None, typer.Option(
        "--machine", help="A preset ('bitwright hw machines' lists them), or a .toml or .json "
                          "file.")] = "ulx3s-85f"
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a field of the machine; repeatable.")] = None
    pe: Pe = None

    @property
    def changes(self) -> dict[str, str]:
        """The changed fields. Wrong usage for text without ``=``."""
        return overrides(self.settings)

    def read(self) -> Machine:
        """The machine, with the changes. ``MachineError`` for an unknown name, a bad file or a bad
        field."""
        assert self.machine is not None
        return read_machine(self.machine, self.changes, self.pe)
