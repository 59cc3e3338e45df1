"""Exports the core as Verilog."""

from dataclasses import dataclass
from pathlib import Path

from bitwright.compiler.interface.error_hierarchy import raises_error
from bitwright.compiler.interface.machine_choice import MachineLike, chosen_machine
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.core import core_ports, core_verilog
from bitwright.models.command_line.options_and_files import write_text

__all__ = ["Port", "Verilog", "export_verilog"]


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port of the core: ``in`` or ``out``, ``width`` in bits."""
    name: str
    direction: str
    width: int


@dataclass(frozen=True, kw_only=True, repr=False)
class Verilog:
    """The source text of a machine's core, and its ports in order."""
    machine: Machine
    text: str
    ports: tuple[Port, ...]

    def __repr__(self) -> str:
        return (f"Verilog({self.machine.name}: {self.text.count(chr(10)):,} lines, "
                f"{len(self.ports)} ports)")


@raises_error
def export_verilog(machine: MachineLike, out: str | Path | None = None) -> Verilog:
    """Return the whole core as Verilog, and write it to the file ``out`` if that is given.

    The core has an AXI4 manager ``m_axi_*``, an AXI4-Lite subordinate ``s_axil_*``, one clock and
    one synchronous reset. The same machine gives the same bytes. Raises ``MachineError`` for an
    unknown machine and ``Error`` for a file that cannot be written.

    >>> export_verilog("tiny", "core.v").ports    # doctest: +SKIP
    """
    config = chosen_machine(machine)
    text = core_verilog(config)
    if out is not None:
        write_text(Path(out), text)
    return Verilog(machine=config, text=text, ports=tuple(
        Port(name=name, direction=direction, width=width)
        for name, (direction, width) in core_ports(config).items()))
