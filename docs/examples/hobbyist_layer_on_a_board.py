"""For hobbyists: a layer on a whole board, in simulation.

The script maps a small model for a machine that fits the board. It simulates the board with its
memory and its serial port, sends the layer through the port, and compares every result. The same
calls reach a real board: give its port to ``Board.open``.

    python docs/examples/hobbyist_layer_on_a_board.py --board icebreaker
"""

import argparse
from pathlib import Path

import numpy as np
from small_checkpoint import write_small_checkpoint

import bitwright
from bitwright.fpga.boards.registry import board
from bitwright.fpga.host.board_backend import BoardSession
from bitwright.fpga.host.run_layer import run_layer
from bitwright.fpga.link.driver import Board
from bitwright.fpga.verification.simulated_board import SimulatedBoard


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--board", default="ulx3s-12f")
    options.add_argument("--machine", help="the board's own if left out")
    options.add_argument("--out", type=Path, default=Path("build/hobbyist"))
    asked = options.parse_args()

    target = board(asked.board)
    machine = bitwright.machine(asked.machine) if asked.machine else target.preset()
    target.check(machine)
    checkpoint = write_small_checkpoint(asked.out / "checkpoint")
    image = bitwright.map_model(checkpoint, asked.out / "image", machine, group_size=16, tokens=4)
    layer = image.layer(next(iter(image.layers)))
    a = np.random.default_rng(0).integers(-128, 128, size=(layer.m, layer.k), dtype=np.int8)

    with SimulatedBoard(target, machine) as simulated:
        with Board.open(simulated.port, target.baud, timeout=10) as link:
            session = BoardSession(link=link, info=link.info(), port=simulated.port)
            found = run_layer(session, image, layer, machine, a)
        report = simulated.stop()
    golden = bitwright.run(image, layer=layer.name, activations=a)
    print(f"{layer.name} on {target.name}: {found.counters['run']:,} cycles, "
          f"{found.microseconds:,.0f} us at {found.clock_khz / 1000:g} MHz")
    print(f"loaded {found.loaded_bytes:,} bytes, read {found.read_bytes:,}; the board ran "
          f"{report['cycles']:,} cycles")
    if not np.array_equal(found.accumulators, golden.accumulators):
        raise SystemExit("the board's results differ from the golden model's")
    print(f"all {found.accumulators.size:,} results are those of the golden model")


if __name__ == "__main__":
    main()
