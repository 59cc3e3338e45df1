"""The command ``netlist``."""

import json
from typing import Annotated

import typer

from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.verification.netlist_check import (
    NetlistResult,
    check_bitstream,
    check_netlist,
    family_of,
)
from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.models.command_line.option_groups import Json, Seed, one_of
from bitwright.models.command_line.options_and_files import say

__all__ = ["netlist"]

MACHINE = MachineChoice(machine="tiny")


def netlist(
    where: MachineChoice = MACHINE,
    family: Annotated[str | None, typer.Option(
        metavar="|".join(CHIP_FAMILIES),
        help="Chips to synthesize for; by the machine's fabric without it.")] = None,
    bitstream: Annotated[bool, typer.Option(
        "--bitstream", help="Run the core in a finished iCE40 bitstream, by icebox_vlog.")] = False,
    programs: Annotated[int, typer.Option(min=1, help="How many programs to run.")] = 8,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run random programs on the core's netlist, and compare them with the models.

    Every bit and every counter is compared. The seed is the number of the first program. Exit
    status 1 if one differs.
    """
    if family is not None:
        one_of("--family", family, CHIP_FAMILIES)
    config = where.read()
    chips = family_of(config, "ice40" if bitstream and family is None else family)
    if bitstream and chips != "ice40":
        raise typer.BadParameter(f"is for ice40, not {chips}", param_hint="--bitstream")
    found = (check_bitstream(config, programs=programs, seed=seed, say=say) if bitstream else
             check_netlist(config, chips, programs=programs, seed=seed, say=say))
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        _print(found)
    if found.failures:
        raise typer.Exit(1)


def _print(found: NetlistResult) -> None:
    print(f"{found.machine.name} for {found.family}: " + ", ".join(
        f"{count:,} {cell}" for cell, count in found.cells.items()))
    for failure in found.failures:
        print(f"FAILED {failure['case']}: " + (failure["error"] if "error" in failure else (
            f"{failure['mismatches']} accumulators differ, counters (netlist, model) "
            f"{failure['differences']}")))
    print(f"{found.programs} programs from seed {found.seed}, {found.cycles:,} cycles: "
          f"{len(found.failures)} differ")
