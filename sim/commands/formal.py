"""The command ``formal``."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bitwright.models.command_line.option_groups import Json
from bitwright.models.command_line.options_and_files import say
from bitwright.models.errors import UnknownNameError, unknown_name
from bitwright.sim.formal.catalog import PROOFS
from bitwright.sim.formal.proof import Proof
from bitwright.sim.formal.run import Outcome, prove_all

__all__ = ["formal"]


def formal(
    names: Annotated[list[str] | None, typer.Argument(
        metavar="[NAME]...", help="Which proofs; all without a name.")] = None,
    show: Annotated[bool, typer.Option("--list", help="List the proofs.")] = False,
    keep: Annotated[Path | None, typer.Option(
        metavar="DIR", help="Folder for the files of failed proofs.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Proofs at a time.")] = 2,
    as_json: Json = False,
) -> None:
    """Prove properties of the circuits for all inputs.

    Exit status 1 if a property does not hold.
    """
    for name in names or ():
        if name not in PROOFS:
            raise UnknownNameError(unknown_name("proof", name, PROOFS))
    chosen = [PROOFS[name] for name in names or PROOFS]
    if show:
        _list(chosen, as_json)
        return
    found = prove_all(chosen, jobs=jobs, keep=keep, said=lambda one: say(
        f"{one.proof.name}: {'PASS' if one.passed else 'FAIL'} ({one.seconds:.1f} s)"))
    if as_json:
        print(json.dumps([one.to_dict() for one in found]))
    else:
        _print(found)
    if not all(one.passed for one in found):
        raise typer.Exit(1)


def _list(proofs: list[Proof], as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"name": proof.name, "property": proof.text} for proof in proofs]))
    else:
        for proof in proofs:
            print(f"{proof.name}: {proof.text}")


def _print(found: list[Outcome]) -> None:
    console = Console(highlight=False)
    table = Table("proof", "property", "method", "depth", "seconds", "result")
    for one in found:
        table.add_row(one.proof.name, one.proof.text, one.proof.method, str(one.proof.depth),
                      f"{one.seconds:.1f}", "PASS" if one.passed else "FAIL",
                      style="" if one.passed else "bold red")
    console.print(table)
    for one in found:
        for failure in one.failures:
            console.print(f"{one.proof.name}: {failure}", soft_wrap=True)
        if not one.passed:
            console.print(f"{one.proof.name}: counterexample in {one.trace}" if one.trace else
                          f"{one.proof.name}: --keep DIR keeps the counterexample",
                          soft_wrap=True)
