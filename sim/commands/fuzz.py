"""The command ``fuzz``."""

import json
from typing import Annotated

import typer

from bitwright.models.command_line.option_groups import Json, Seed
from bitwright.models.command_line.options_and_files import say
from bitwright.models.command_line.progress_lines import counted
from bitwright.sim.verification.chain_fuzz import ChainComparison, compare_chain, random_chain
from bitwright.sim.verification.gemm_fuzz import Comparison, compare, machines, random_case
from bitwright.sim.verilator.simulator import build

__all__ = ["fuzz"]


def fuzz(
    programs: Annotated[int, typer.Option(min=1, help="How many programs to run.")] = 330,
    seed: Seed = 0,
    chains: Annotated[bool, typer.Option(
        "--chains", help="Run programs of several products each.")] = False,
    as_json: Json = False,
) -> None:
    """Run random programs on RTL, and compare every bit and counter with the models.

    They run on machines of every kind with three memories. The seed is the number of the first
    program. Exit status 1 if a bit or a counter differs.
    """
    for config in machines():
        build(config, say)
    failures = []
    found: Comparison | ChainComparison
    for number in counted(range(seed, seed + programs), "programs", say):
        found = (compare_chain(random_chain(number)) if chains else
                 compare(random_case(number)))
        if not found.ok:
            failures.append({"case": str(found.case), "mismatches": found.mismatches,
                             "differences": found.differences})
    if as_json:
        print(json.dumps({"programs": programs, "seed": seed, "failures": failures}))
    else:
        for failure in failures:
            print(f"FAILED {failure['case']}: {failure['mismatches']} accumulators differ, "
                  f"counters (RTL, model) {failure['differences']}")
        print(f"{programs} programs from seed {seed}: {len(failures)} differ")
    if failures:
        raise typer.Exit(1)
