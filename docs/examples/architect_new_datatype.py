"""For architects: a datatype of your own on every kind of processing element.

The script writes a datatype of Fibonacci numbers and measures what it loses against int4. It runs a
layer on each element, and compares every bit and every cycle with the models. Then it sweeps the
machines over a few products and plots cycles against LUTs.

    python docs/examples/architect_new_datatype.py --backend rtl
"""

import argparse
from pathlib import Path

import numpy as np
from small_checkpoint import write_small_checkpoint

import bitwright

DATATYPE = """name = "fibonacci"
values = [0, 1, 2, 3, 5, 8, 13, 21, -1, -2, -3, -5, -8, -13, -21]
"""
ELEMENTS = ("lut", "serial", "mac")
SHAPES = ("1x256x256", "16x256x256", "64x256x1024")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("build/architect"))
    options.add_argument("--backend", default="rtl", help="rtl, golden or cycles")
    asked = options.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    datatype = asked.out / "fibonacci.toml"
    datatype.write_text(DATATYPE)

    weights = np.random.default_rng(0).normal(size=(64, 256))
    for name in ("int4", str(datatype)):
        found = bitwright.quantize(weights, name, group_size=32)
        print(f"{found.datatype.name:10} {found.sqnr_db(weights):5.2f} dB on Gaussian weights")

    checkpoint = write_small_checkpoint(asked.out / "checkpoint")
    machines = [bitwright.machine("tiny", pe=element, name=element) for element in ELEMENTS]
    for machine in machines:
        image = bitwright.map_model(checkpoint, asked.out / machine.name, machine,
                                    weights=str(datatype), group_size=16, tokens=4)
        layer = next(iter(image.layers))
        ran = bitwright.run(image, layer=layer, backend=asked.backend)
        report = bitwright.load_report(image.folder)
        print(f"{machine.name:10} {report.totals.cycles:,} cycles for the model, "
              f"{report.totals.bits_per_weight:.2f} stored bits per weight; {ran}")
        if not ran.good:
            raise SystemExit(f"{machine.name}: a bit or a cycle differs")

    swept = bitwright.sweep(SHAPES, machines, weights=str(datatype), group_size=32)
    swept.write_csv(asked.out / "sweep.csv")
    swept.write_svg(asked.out / "sweep.svg")
    for each in swept:
        print(each)
    print(f"written: {asked.out / 'sweep.csv'} and {asked.out / 'sweep.svg'}")


if __name__ == "__main__":
    main()
