"""The command ``sweep``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bitwright.compiler.interface.machine_sweeps import Sweep, sweep
from bitwright.hw.machine.presets import machine as read_machine
from bitwright.models.command_line.option_groups import Json, WeightChoice
from bitwright.models.command_line.options_and_files import overrides, say

__all__ = ["SweepFiles", "sweep_command"]


@dataclass(frozen=True)
class SweepFiles:
    """Where a sweep is written."""
    csv: Annotated[Path | None, typer.Option(
        "--csv", metavar="FILE", help="CSV file to write, one row per workload and machine.")
    ] = None
    plot: Annotated[Path | None, typer.Option(
        "--plot", metavar="FILE", help="SVG file to write: cycles against LUTs.")] = None

    def write(self, found: Sweep) -> None:
        """Write the files that were asked for."""
        if self.csv is not None:
            found.write_csv(self.csv)
        if self.plot is not None:
            found.write_svg(self.plot)


def sweep_command(
    workloads: Annotated[list[str], typer.Argument(
        metavar="WORKLOAD...", help="GEMMs as MxKxN, or models: a name or a config.json.")],
    machines: Annotated[list[str], typer.Option(
        "--machine", help="A preset ('bitwright hw machines' lists them), or a .toml or .json "
                          "file; repeatable.")],
    choice: WeightChoice,
    files: SweepFiles,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a field of every machine; repeatable.")] = None,
    tokens: Annotated[int | None, typer.Option(
        "--tokens", min=1, max=1 << 20, help="Tokens per launch of a model; 128, or those of an "
                                             "image, if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Estimate workloads on several machines: cycles, and the LUTs of the machine.

    What a machine does not run is listed with the reason. LUTs come from a model that is fitted to
    real syntheses.
    """
    chosen = [read_machine(name, overrides(settings)) for name in machines]
    parts: list[Sweep] = []
    for config in chosen:
        say(f"sweep: {len(workloads)} workloads on {config.name}")
        parts.append(sweep(workloads, [config], weights=choice.weights,
                           group_size=choice.group_size, asymmetric=choice.asymmetric,
                           tokens=tokens))
    found = Sweep(estimates=tuple(each for part in parts for each in part.estimates),
                  refusals=tuple(each for part in parts for each in part.refusals))
    files.write(found)
    if as_json:
        print(json.dumps(found.rows()))
    else:
        _print(found)


def _print(found: Sweep) -> None:
    names = [each.workload for each in found.estimates]
    width = max(map(len, (*names, *(each.workload for each in found.refusals))), default=0)
    for each in found.estimates:
        luts = "unknown" if each.luts is None else f"{each.luts:,}"
        print(f"{each.workload:{width}}  {each.machine.name:14}  {each.cycles:>18,} cycles  "
              f"{each.utilization:>6.1%} of the array  {luts:>8} LUTs")
    for refusal in found.refusals:
        print(f"{refusal.workload:{width}}  {refusal.machine:14}  refused: {refusal.reason}")
