"""Whole boards in Verilator, reached through a pseudo-terminal as a real one through its port.

What is simulated is the top that becomes the bitstream, with models of its I/O cells; the harness
gives the clocks of the PLL and has the memory chip at the pins.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import bitwright.fpga.verification.board_models
from bitwright.fpga.boards.board import Board, BoardError
from bitwright.fpga.toolchain.bitstream_build import elaborate
from bitwright.hw.machine.description import Machine
from bitwright.sim.verilator.verilator_build import (
    Say,
    SimulationError,
    VerilatorOptions,
    compile_harness,
    silent,
)

__all__ = ["DIVISOR", "SimulatedBoard", "board_verilog", "build_board", "pin_models"]

FOLDER = Path(bitwright.fpga.verification.board_models.__file__).parent
HARNESS, HEADERS = FOLDER / "board.cpp", (FOLDER / "sdram_model.h", FOLDER / "uart_pty.h")
DIVISOR = 4             # clocks per bit: a raised baud rate, so that loading takes less time
# From an edge of the SDRAM's clock in the FPGA to data at the FPGA's registers, in ps: the way out
# (2 to 3 ns), the chip (tOH 2.5 to tAC 6 ns), the way in (0.5 to 1 ns).
EARLY, LATE = 5_000, 10_000


@cache
def board_verilog(board: Board, machine: Machine, divisor: int) -> str:
    """The board's top for a link of ``divisor`` clocks per bit: module ``top``."""
    board = replace(board, baud=round(board.clock_mhz * 1e6 / divisor))
    return elaborate(board, machine.replace(fabric="generic"))[0]


def pin_models(board: Board) -> tuple[Path, Path]:
    """Return the Verilog of the board's pins and of its chip's I/O cells. Raises
    :class:`bitwright.fpga.boards.board.BoardError` for a board without either."""
    if board.simulation is None or board.chip_family.pin_models is None:
        raise BoardError(f"{board.name} cannot be simulated: its description has no Verilog of its "
                         "pins (simulation, and the chip family's pin_models)")
    return board.simulation, board.chip_family.pin_models


def build_board(board: Board, machine: Machine, divisor: int = DIVISOR, say: Say = silent) -> Path:
    """The simulator of ``board``: compiled on first use, then from the cache. Raises
    :class:`bitwright.fpga.boards.board.BoardError` for a machine that the board cannot hold, and
    for a board that cannot be simulated."""
    return compile_harness(
        board_verilog(board, machine, divisor), HARNESS, top="board",
        name=f"board {board.name}, machine {machine.name}", say=say, options=VerilatorOptions(
            headers=HEADERS, library=pin_models(board),
            defines={"SDRAM": int(not board.memory.on_chip)},
            arguments=("--pins-inout-enables",)))


class SimulatedBoard:
    """A running simulation of a board with ``machine``.

    ``divisor`` is clocks per bit; ``rules`` replace some of the SDRAM chip's (names and units of
    ``fpga/verification/board_models/sdram_model.h``). ``port`` is what a host opens. :meth:`stop`
    ends it, as does leaving the ``with`` block.
    """

    def __init__(self, board: Board, machine: Machine, *, divisor: int = DIVISOR,
                 rules: Mapping[str, int] | None = None, say: Say = silent):
        program = build_board(board, machine, divisor, say)
        period = round(1e6 / board.clock_mhz)
        phase = round(period * (board.memory.phase or 0) / 360)
        self._process = subprocess.Popen(
            [str(program), *map(str, (divisor, period, phase, EARLY, LATE)),
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
