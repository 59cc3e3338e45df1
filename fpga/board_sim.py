"""Whole boards in Verilator, reached through a pseudo-terminal as a real one through its port."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from amaranth import *
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

import sim.boards
from fpga.link.endpoint import LinkConfig
from fpga.sdram import SIZE_BYTES, SdramController
from fpga.spram import OnChipMemory
from fpga.system import System
from hw.config import Machine
from sim.verilated import Say, SimulationError, compile_harness, silent

__all__ = ["DIVISOR", "SIMULATED", "SimulatedBoard", "SimulatedKind", "board_top", "build_board"]

FOLDER = Path(sim.boards.__file__).parent
HARNESS, HEADERS = FOLDER / "board.cpp", (FOLDER / "sdram_model.h", FOLDER / "uart_pty.h")
DIVISOR = 4             # clocks per bit: a raised baud rate, so that loading takes less time
SDRAM_PINS = ("cke", "cs_n", "ras_n", "cas_n", "we_n", "ba", "a", "dqm", "dq_o", "dq_oe", "dq_i")


@dataclass(frozen=True, kw_only=True)
class SimulatedKind:
    """What a simulated board has: ``sdram``, the chip on its pins, or memory of its own.
    ``machine`` is the one that it is simulated with unless another is named."""
    machine: str
    clock_mhz: int
    memory_bytes: int
    sdram: bool


SIMULATED = {
    "ulx3s-85f": SimulatedKind(machine="ulx3s-12f", clock_mhz=80, memory_bytes=SIZE_BYTES,
                               sdram=True),
    "icebreaker": SimulatedKind(machine="icebreaker", clock_mhz=24, memory_bytes=1 << 17,
                                sdram=False),
}


class _Pins(wiring.Component):
    """The system of a board and the pins that the harness knows; ``sdram_clk`` is the chip's."""

    def __init__(self, kind, machine, link):
        self._link = link
        self._memory = (SdramController(clock_mhz=kind.clock_mhz) if kind.sdram
                        else OnChipMemory(kind.memory_bytes))
        self._machine = machine
        members = self._memory.signature.members
        self._pins = SDRAM_PINS if kind.sdram else ()
        clock = {"sdram_clk": Out(1)} if kind.sdram else {}
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), **clock,
                          **{name: members[name] for name in self._pins}})

    def elaborate(self, platform):
        m = Module()
        m.submodules.system = system = System(self._machine, self._memory, self._link)
        m.d.comb += [system.rx.eq(self.rx), self.tx.eq(system.tx)]
        for name in self._pins:
            outer, inner = getattr(self, name), getattr(self._memory, name)
            m.d.comb += inner.eq(outer) if name == "dq_i" else outer.eq(inner)
        if self._pins:
            m.d.comb += self.sdram_clk.eq(ClockSignal())
        return m


@cache
def board_top(kind: SimulatedKind, machine: Machine, divisor: int) -> str:
    """Verilog of module ``board``, whose pins the harness drives."""
    link = LinkConfig(divisor=divisor, memory_bytes=kind.memory_bytes,
                      clock_khz=1000 * kind.clock_mhz, identity=machine.identity(),
                      memory_bits=machine.memory_bits)
    return verilog.convert(_Pins(kind, machine.replace(fabric="generic"), link), name="board",
                           emit_src=False)


def build_board(board: str, machine: Machine, divisor: int = DIVISOR, say: Say = silent) -> Path:
    """The simulator of a board of :data:`SIMULATED`: compiled on first use, then from the cache."""
    kind = SIMULATED[board]
    return compile_harness(
        board_top(kind, machine, divisor), HARNESS, top="board", headers=HEADERS, say=say,
        name=f"board {board} with machine {machine.name}", defines={"SDRAM": int(kind.sdram)})


class SimulatedBoard:
    """A running simulation of a board with ``machine``.

    ``divisor`` is clocks per bit; ``rules`` replace some of the SDRAM chip's (names and units of
    ``sim/boards/sdram_model.h``). ``port`` is what a host opens. :meth:`stop` ends it, as does
    leaving the ``with`` block.
    """

    def __init__(self, board: str, machine: Machine, *, divisor: int = DIVISOR,
                 rules: Mapping[str, int] | None = None, say: Say = silent):
        program = build_board(board, machine, divisor, say)
        period = round(1e6 / SIMULATED[board].clock_mhz)
        self._process = subprocess.Popen(
            [str(program), str(divisor), str(period),
             *(f"{name}={value}" for name, value in (rules or {}).items())],
            stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            raise SimulationError("the simulated board did not start: exit status "
                                  f"{self._process.returncode}")
        self.port: str = json.loads(line)["port"]

    def stop(self) -> dict[str, Any]:
        """Cycles, simulated seconds, refreshes. Raises :class:`SimulationError` if a rule of the
        SDRAM chip was broken, or if the simulation had ended by itself."""
        self._process.terminate()
        out, _ = self._process.communicate(timeout=60)
        if self._process.returncode or not out:
            raise SimulationError("the simulated board ended by itself: exit status "
                                  f"{self._process.returncode}")
        report = json.loads(out)
        if broken := report["violations"]:
            raise SimulationError(f"rules of the SDRAM were broken {len(broken)} times, first: "
                                  f"{broken[0]}")
        return report

    def wait(self) -> None:
        """Until it ends by itself."""
        self._process.wait()

    def kill(self) -> None:
        """End it at once, as when the power goes."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def __enter__(self) -> "SimulatedBoard":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.kill()
