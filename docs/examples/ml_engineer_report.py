"""For ML engineers: what a checkpoint costs and loses in several weight formats.

The script maps a checkpoint once per format. It reads the reports and prints cycles, size and the
layer that loses most. Without a checkpoint it writes a small one.

    python docs/examples/ml_engineer_report.py model.safetensors --weights int4 --weights bitmod4
"""

import argparse
from pathlib import Path

from small_checkpoint import write_small_checkpoint

import bitwright


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("checkpoint", nargs="?", type=Path)
    options.add_argument("--machine", default="ulx3s-85f")
    options.add_argument("--weights", action="append")
    options.add_argument("--group-size", type=int)
    options.add_argument("--tokens", type=int, default=16)
    options.add_argument("--out", type=Path, default=Path("build/ml-engineer"))
    asked = options.parse_args()

    path = asked.checkpoint or write_small_checkpoint(asked.out / "checkpoint")
    with bitwright.read_checkpoint(path) as checkpoint:
        print(checkpoint)
    for weights in asked.weights or ["int4", "int3", "bitmod4"]:
        image = bitwright.map_model(path, asked.out / weights, asked.machine, weights=weights,
                                    group_size=asked.group_size, tokens=asked.tokens)
        report = bitwright.load_report(image.folder)
        totals = report.totals
        slowest = max(report.layers, key=lambda layer: layer.cycles)
        known = [layer for layer in report.layers if layer.sqnr_db is not None]
        worst = min(known, key=lambda layer: layer.sqnr_db)
        print(f"\n{weights}: {totals.cycles:,} cycles for {report.tokens} tokens, "
              f"{totals.bits_per_weight:.2f} bits per weight, "
              f"{totals.utilization:.1%} of the array")
        print(f"  loses most   {worst.name}: {worst.sqnr_db:.1f} dB")
        print(f"  takes most   {slowest.name}: {slowest.cycles:,} cycles, bound by "
              f"{slowest.bound}")
        print(f"  fits on      {', '.join(report.resources[0].chips) or 'no known chip'}")
        print(f"  whole report {image.folder / 'report.html'}")


if __name__ == "__main__":
    main()
