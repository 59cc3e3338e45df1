"""The commands that talk to a board: ``run``, and ``board-sim`` for a simulated one."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from bitwright.compiler.commands.image_options import ImageFolder
from bitwright.compiler.image.host_files import read_tensors
from bitwright.compiler.image.mapped_image import Image, open_image
from bitwright.compiler.ir.layer_inputs import prepared
from bitwright.compiler.ir.program import LinearOp, Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.runtime.run_layer import activations, random_activations
from bitwright.fpga.boards.board import Board
from bitwright.fpga.boards.registry import BOARDS, board
from bitwright.fpga.commands.fpga_options import BOARD_MACHINE, BoardName, write_json
from bitwright.fpga.host.board_backend import BoardSession, Watch
from bitwright.fpga.host.run_layer import BoardResult, check_identity, run_layer
from bitwright.fpga.link.driver import Board as Link
from bitwright.fpga.verification.simulated_board import DIVISOR, SimulatedBoard, pin_models
from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.hw.machine.control_interface import by_engine
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import machine
from bitwright.models.assets.fetch import model_path
from bitwright.models.command_line.option_groups import Json, JsonFile
from bitwright.models.command_line.options_and_files import say

__all__ = ["LinkChoice", "RunInput", "SimulatedInput", "board_sim", "run"]

BAUD = 3_000_000        # of most boards
SIMULATION_TIMEOUT = 10.0
LAYER = "encoder.layer.0.attention.self.query"
Say = Callable[[str], None]


class _Shown(Watch):
    """Transfers on the error stream: a bar on a terminal, and a line once they are done."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._what = ""

    def begin(self, what: str, total: int) -> None:
        self._what = what
        if sys.stderr.isatty():
            self._bar = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
                                 TransferSpeedColumn(), console=Console(stderr=True),
                                 transient=True)
            self._bar.start()
            self._task = self._bar.add_task(what, total=total)

    def moved(self, done: int) -> None:
        if self._bar:
            self._bar.update(self._task, completed=done)

    def end(self, total: int, seconds: float) -> None:
        self.close()
        say(f"{self._what} {total:,} bytes: {seconds:.2f} s, {total / seconds:,.0f} bytes/s")

    def note(self, text: str) -> None:
        say(text)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar:
            self._bar.stop()
            self._bar = None


def _rate(count: int, seconds: float) -> str:
    return f"{count:,} bytes in {seconds:.2f} s, {count / max(seconds, 1e-9):,.0f} bytes/s"


def _print(result: BoardResult) -> None:
    """One run, a line per fact."""
    print(f"layer       {result.layer}")
    print(f"board       {result.port}: machine {result.machine} ({result.identity:#010x}), "
          f"{result.clock_khz / 1000:g} MHz")
    print(f"parts       {result.parts}")
    print(f"loaded      {_rate(result.loaded_bytes, result.load_seconds)}")
    print(f"read        {_rate(result.read_bytes, result.read_seconds)}")
    print(f"mismatches  {result.mismatches} in {result.accumulators.size:,} accumulators")
    if result.first_mismatch:
        print(f"first       {result.first_mismatch}")
    print(f"cycles      {result.counters['run']:,} (cycle model {result.model['run']:,}); with "
          f"program fetch {result.counters['total']:,}, {result.microseconds:,.0f} us")
    for engine, counters in by_engine(result.counters).items():
        print(f"{engine:11} " + ", ".join(
            f"{name} {count:,} ({by_engine(result.model)[engine][name]:,})"
            for name, count in counters.items()))
    print("in brackets: the cycle model, which is exact only for the memory that it models "
          f"(latency {result.memory.latency}, interval {result.memory.interval}); the board's is "
          "another")


def _run(image: Image, op: LinearOp, where: Machine, a: NDArray[np.integer], *, port: str,
         baud: int, timeout: float, named: bool) -> BoardResult:
    with Link.open(port, baud, timeout=timeout) as link:
        info = link.info()
        check_identity(info, where, port, of_image=not named)
        shown = _Shown()
        try:
            session = BoardSession(link=link, info=info, port=port, watch=shown)
            return run_layer(session, image, op, where, a)
        finally:
            shown.close()


def _activations(image: Image, op: LinearOp, where: Machine, source: Path | None,
                 seed: int | None) -> NDArray[np.integer]:
    if source is not None and seed is not None:
        raise typer.BadParameter("goes without --input", param_hint="--seed")
    if source is not None:
        return activations(op, source, where.act_bits,
                           partial(prepared, image.options, read_tensors(image), op.name))
    return random_activations(op, seed or 0, where.act_bits)


def _finish(result: BoardResult, found: dict[str, Any], out: Path | None, as_json: bool) -> None:
    write_json(out, found)
    if as_json:
        print(json.dumps(found))
    else:
        _print(result)


Layer = Annotated[str, typer.Option("--layer", help="Name of the layer.")]
Input = Annotated[Path | None, typer.Option(
    "--input", help=".npy of [m, k]: integers, or floats to quantize per token.")]
RandomSeed = Annotated[int | None, typer.Option(
    "--seed", min=0, help="Seed of random activations if there is no --input; 0 if left out.")]


@dataclass(frozen=True)
class LinkChoice:
    """The serial line to a board."""
    port: Annotated[str, typer.Option("--port", help="Serial port of the board.")]
    baud: Annotated[int | None, typer.Option(
        "--baud", min=1,
        help=f"Baud rate of the bitstream; the --board's, or {BAUD:,} if left out.")] = None
    timeout: Annotated[float, typer.Option(
        "--timeout", min=0.01,
        help="Seconds without an answer after which requests are repeated.")] = 1.0


@dataclass(frozen=True)
class RunInput:
    """Which layer is run, and on what."""
    layer: Layer
    source: Input = None
    seed: RandomSeed = None


@dataclass(frozen=True)
class SimulatedInput:
    """Which layer is run, of which model, on how many tokens."""
    folder: Annotated[Path | None, typer.Option(
        "--image", help="A mapped model; MiniLM is mapped if left out.")] = None
    layer: Layer = LAYER
    tokens: Annotated[int, typer.Option(
        "--tokens", min=1, help="Tokens per launch of MiniLM.")] = 4
    seed: RandomSeed = None


SIMULATED = SimulatedInput()


def run(
    folder: ImageFolder,
    link: LinkChoice,
    given: RunInput,
    name: Annotated[str | None, typer.Option(
        "--board", help=f"One of {', '.join(BOARDS)}: stands for its machine and baud "
                        "rate.")] = None,
    where: MachineChoice = BOARD_MACHINE,
    out: JsonFile = None,
    as_json: Json = False,
) -> None:
    """Run one layer of a mapped model on a board, and compare it with the golden model.

    --machine is the machine of the bitstream, if it is neither the board's nor the image's; the
    layer is packed again if it is not the image's. It runs in parts if the board's memory is small.
    Exit status 1 if an accumulator differs.
    """
    target = None if name is None else board(name)
    spec = where.machine or (target and target.machine)
    if where.settings and spec is None:
        raise typer.BadParameter("changes a --machine; name one", param_hint="--set")
    image = open_image(folder)
    op = image.layer(given.layer)
    config = (target.machine_of(where.machine, where.changes, where.pe) if target else
              machine(spec, where.changes, where.pe) if spec else image.machine)
    a = _activations(image, op, config, given.source, given.seed)
    result = _run(image, op, config, a, port=link.port, timeout=link.timeout,
                  named=spec is not None, baud=link.baud or (target.baud if target else BAUD))
    _finish(result, result.to_dict(), out, as_json)
    if result.mismatches:
        raise typer.Exit(1)


def _minilm(scratch: Path, where: Machine, tokens: int) -> Image:
    """MiniLM, mapped for the board's machine."""
    map_checkpoint(model_path("minilm"), scratch / "minilm", where, Options(tokens=tokens))
    return open_image(scratch / "minilm")


def board_sim(
    name: BoardName = "ulx3s-12f",
    where: MachineChoice = BOARD_MACHINE,
    given: SimulatedInput = SIMULATED,
    divisor: Annotated[int, typer.Option(
        "--divisor", min=4, max=4096, help="Clock cycles per bit.")] = DIVISOR,
    serve: Annotated[bool, typer.Option(
        "--serve", help="Only print the port, and simulate until interrupted.")] = False,
    out: JsonFile = None,
    as_json: Json = False,
) -> None:
    """Simulate a whole board, and run a layer through its serial port.

    Exit status 1 if an accumulator differs, or a rule of the SDRAM chip is broken.
    """
    target = board(name)
    config = target.machine_of(where.machine, where.changes, where.pe)
    target.check(config)
    pin_models(target)      # or an error, before minutes of work
    if serve:
        _serve(target, config, divisor)
        return
    with tempfile.TemporaryDirectory(prefix="bitwright-") as scratch:
        image = (open_image(given.folder) if given.folder else
                 _minilm(Path(scratch), config, given.tokens))
        op = image.layer(given.layer)
        a = _activations(image, op, config, None, given.seed)
        with SimulatedBoard(target, config, divisor=divisor, say=say) as simulated:
            started = time.perf_counter()
            result = _run(image, op, config, a, port=simulated.port, baud=BAUD,
                          timeout=SIMULATION_TIMEOUT, named=True)
            took = time.perf_counter() - started
            report = simulated.stop()
    found = result.to_dict() | {
        "board": name, "simulated_cycles": report["cycles"],
        "simulated_seconds": report["seconds"], "seconds": round(took, 3)}
    _finish(result, found, out, as_json)
    if not as_json:
        print(f"simulated   {report['seconds']:.4f} s in {took:.1f} s, {report['cycles']:,} "
              f"cycles, {report['cycles'] / took:,.0f} cycles/s")
        if "refreshes" in report:
            print(f"SDRAM       no rule broken, {report['refreshes']:,} refreshes")
    if result.mismatches:
        raise typer.Exit(1)


def _serve(target: Board, where: Machine, divisor: int) -> None:
    """A simulated board for other programs."""
    with SimulatedBoard(target, where, divisor=divisor, say=say) as simulated:
        print(json.dumps({"port": simulated.port, "board": target.name, "machine": where.name,
                          "identity": where.identity()}), flush=True)
        try:
            simulated.wait()
        except KeyboardInterrupt:
            print(json.dumps(simulated.stop()), flush=True)
