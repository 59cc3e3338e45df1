"""``python -m sim``: verify a GEMM on RTL, estimate cycles, run regressions and benchmarks."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bitwright.hw.elements.element_option import Pe
from bitwright.hw.machine.description import ACT_BITS, Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.machine.presets import machine as machine_of
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.models.architectures.families import EXAMPLES, read_config, transformer
from bitwright.models.command_line.options_and_files import overrides, say
from bitwright.models.command_line.program import run_program
from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES, datatype
from bitwright.sim.cocotb_benches.regression import regress as run_regression
from bitwright.sim.commands.command_table import SIM
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.formal.catalog import PROOFS
from bitwright.sim.formal.run import prove_all
from bitwright.sim.performance.benchmark import run_bench
from bitwright.sim.performance.bitmod_hpca25 import PUBLISHED, estimate_model, weight_bits
from bitwright.sim.performance.gemm_estimate import estimate_gemm
from bitwright.sim.verification.chain_fuzz import ChainComparison, compare_chain, random_chain
from bitwright.sim.verification.conformance import check as check_matrix
from bitwright.sim.verification.gemm_fuzz import Case, Comparison, compare, machines, random_case
from bitwright.sim.verilator.simulator import build

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Verify a GEMM on RTL, estimate cycles, run regressions and benchmarks.")

ACTIVATIONS = {f"int{bits}": bits for bits in ACT_BITS}

Json = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]
MachineName = Annotated[str, typer.Option(
    "--machine", help=f"{', '.join(PRESETS)}, or a .toml or .json file.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="Change a field of the machine; repeatable.")]
GroupSize = Annotated[int, typer.Option(min=0, help="Features per scale; 0: whole channel.")]
Asymmetric = Annotated[bool, typer.Option("--asymmetric", help="An offset per group.")]
Latency = Annotated[int, typer.Option(help="Memory: cycles to a burst's first beat.")]
Interval = Annotated[int, typer.Option(help="Memory: cycles per beat.")]


def _gemm(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,8}x[1-9]\d{0,8}x[1-9]\d{0,8}", text):
        raise typer.BadParameter(f"takes MxKxN, three positive numbers, not {text!r}")
    return text


def _weights(name: str) -> str:
    known = (*DATATYPES, *MIXTURES)
    if name not in known and not name.endswith(".toml"):
        raise typer.BadParameter(f"unknown datatype {name!r}; known: {', '.join(known)}; or give a "
                                 ".toml file")
    return name


def _activations(name: str | None) -> str | None:
    if name is not None and name not in ACTIVATIONS:
        raise typer.BadParameter(f"must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    return name


Weights = Annotated[str, typer.Option(
    callback=_weights, help="Weight datatype, mixture (`python -m models formats`) or .toml file.")]
Activations = Annotated[str | None, typer.Option(
    callback=_activations, help="int4, int8 or int16, in place of the machine's own.")]


Gemm = Annotated[str, typer.Option(callback=_gemm, help="Shape MxKxN.")]


def _shape(text: str) -> tuple[int, int, int]:
    m, k, n = map(int, text.split("x"))
    return m, k, n


def _machine(name: str, settings: list[str] | None, pe: str | None,
             activations: str | None) -> Machine:
    config = machine_of(name, overrides(settings), pe)
    return config if activations is None else config.replace(act_bits=ACTIVATIONS[activations])


@app.command()
def verify(gemm: Gemm, weights: Weights = "int4", activations: Activations = None,
           group_size: GroupSize = 64, asymmetric: Asymmetric = False,
           machine: MachineName = "tiny", pe: Pe = None, settings: Settings = None,
           seed: Annotated[int, typer.Option(min=0, help="Of weights and activations.")] = 0,
           memory_latency: Latency = 32, memory_interval: Interval = 1,
           as_json: Json = False) -> None:
    """One random GEMM on RTL, golden model and cycle model. Exit status 1 if a bit or a cycle
    differs."""
    m, k, n = _shape(gemm)
    case = Case(machine=_machine(machine, settings, pe, activations), m=m, k=k, n=n,
                datatype=weights, group_size=group_size, asymmetric=asymmetric, seed=seed,
                memory=Memory(latency=memory_latency, interval=memory_interval))
    found = compare(case, say)
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        console = Console(highlight=False)
        console.print(f"{case}: {found.mismatches} of {m * n} accumulators differ")
        table = Table("engine", "counter", "RTL", "model")
        rows = [("core", name, found.rtl.counters[name], found.model.counters[name])
                for name in ("run", "total")]
        rows += [(engine, name, value, found.model.engines[engine][name])
                 for engine, values in found.rtl.engines.items() for name, value in values.items()]
        for engine, name, rtl, model in rows:
            table.add_row(engine, name, f"{rtl:,}", f"{model:,}",
                          style="" if rtl == model else "bold red")
        console.print(table)
        console.print(f"roofline {found.roofline_cycles:,.0f} cycles: efficiency "
                      f"{found.roofline_cycles / found.rtl.counters['run']:.3f}")
    if not found.ok:
        raise typer.Exit(1)


@app.command()
def estimate(gemm: Gemm, weights: Weights = "int4", activations: Activations = None,
             group_size: GroupSize = 64, asymmetric: Asymmetric = False,
             machine: MachineName = "ulx3s-85f", pe: Pe = None, settings: Settings = None,
             memory_latency: Latency = 32, memory_interval: Interval = 1,
             as_json: Json = False) -> None:
    """Cycles of a GEMM from the cycle model, for shapes of any size."""
    m, k, n = _shape(gemm)
    config = _machine(machine, settings, pe, activations)
    spec = shape_spec(config, m, k, n, datatype(weights), group_size, asymmetric)
    found = {"machine": config.name, "weights": weights, "group_size": group_size,
             **estimate_gemm(config, spec, Memory(latency=memory_latency,
                                                  interval=memory_interval))}
    if as_json:
        print(json.dumps(found))
        return
    table = Table("figure", "value")
    for name, value in found.items():
        if not isinstance(value, dict):
            table.add_row(name.replace("_", " "), f"{value:,.4g}" if isinstance(value, float)
                          else f"{value:,}" if isinstance(value, int) else str(value))
    for engine, values in found["engines"].items():
        for name, value in values.items():
            table.add_row(f"{engine}: {name.replace('_', ' ')}", f"{value:,}")
    Console(highlight=False).print(table)


def _published(name: str) -> str:
    if name not in PUBLISHED:
        raise typer.BadParameter(f"must be one of {', '.join(PUBLISHED)}, not {name!r}")
    return name


@app.command()
def published(
    model: Annotated[str, typer.Option(
        help=f"A config.json, or one of {', '.join(EXAMPLES)}.")],
    machine: Annotated[str, typer.Option(
        callback=_published, help=f"{' or '.join(PUBLISHED)}.")] = "bitmod-hpca25",
    tokens: Annotated[int, typer.Option(
        min=1, max=1 << 20, help="Of the prefill; with --generate, of the context.")] = 256,
    generate: Annotated[bool, typer.Option("--generate", help="One generated token.")] = False,
    bits: Annotated[str | None, typer.Option(
        "--weights-bits", help="Stored bits per weight, scales included; 6.0625, or 16 for the "
                               "FP16 array, if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Cycles of a whole model by the closed-form model behind BitMoD's published figures."""
    where = PUBLISHED[machine]
    width = weight_bits(where, bits)
    found = estimate_model(where, transformer(read_config(model)), tokens, generate, width)
    if as_json:
        print(json.dumps({"machine": machine, "tokens": tokens, "generate": generate,
                          "weight_bits": float(width), **found.to_dict()}))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    table = Table("operator", "count", "M x K x N", "compute", "DRAM", "bound",
                  title="cycles of one operator each")
    for row in found.rows:
        table.add_row(row["name"], str(row["count"]), f"{row['m']} x {row['k']} x {row['n']}",
                      f"{row['compute_cycles']:,}", f"{row['dram_cycles']:,}", row["bound"])
    console.print(table)
    console.print(f"total {found.cycles:,} cycles; compute only {found.compute_cycles:,}, DRAM "
                  f"only {found.dram_cycles:,}")


@app.command()
def fuzz(programs: Annotated[int, typer.Option(min=1, help="How many.")] = 330,
         seed: Annotated[int, typer.Option(min=0, help="Number of the first.")] = 0,
         chains: Annotated[bool, typer.Option(
             "--chains", help="Programs of several products each.")] = False,
         as_json: Json = False) -> None:
    """Random programs on machines of every kind with three memories: every bit and every counter
    must agree. Exit status 1 if one does not."""
    for config in machines():
        build(config, say)
    failures = []
    found: Comparison | ChainComparison
    for number in range(seed, seed + programs):
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


@app.command()
def matrix(as_json: Json = False) -> None:
    """Every datatype on every machine with every group size, against both models; what does not
    run is refused with the reason. Exit status 1 if a bit or a counter differs."""
    rows = check_matrix(say=say)
    if as_json:
        print(json.dumps(rows))
    else:
        table = Table("machine", "elements", "datatypes", "GEMMs", "differ", "refused")
        for row in rows:
            table.add_row(row["machine"], row["pe"], str(len(row["datatypes"])), str(row["ran"]),
                          str(len(row["failed"])), ", ".join(row["refused"]))
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
        console.print(table)
        reasons = {reason: None for row in rows for reason in row["refused"].values()}
        for reason in reasons:
            console.print(f"refused: {reason}", markup=False)
        for row in rows:
            for failure in row["failed"]:
                console.print(f"FAILED {failure}", markup=False)
    if any(row["failed"] for row in rows):
        raise typer.Exit(1)


@app.command()
def regress(waves: Annotated[bool, typer.Option("--waves", help="Keep FST files.")] = False,
            seed: Annotated[int | None, typer.Option(min=0, help="Repeat a run.")] = None) -> None:
    """The cocotb regression of the whole core."""
    if run_regression(waves=waves, seed=seed):
        raise typer.Exit(1)


@app.command()
def bench(out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
          as_json: Json = False) -> None:
    """Roofline efficiency, simulation and model speed."""
    run_bench(out, as_json, say)


@app.command()
def formal(names: Annotated[list[str] | None, typer.Argument(
               metavar="[NAME]...", help="Which proofs; all without a name.")] = None,
           show: Annotated[bool, typer.Option("--list", help="List the proofs.")] = False,
           keep: Annotated[Path | None, typer.Option(
               metavar="DIR", help="Folder for the files of failed proofs.")] = None,
           jobs: Annotated[int, typer.Option(min=1, help="Proofs at a time.")] = 2,
           as_json: Json = False) -> None:
    """Prove properties of the circuits for all inputs. Exit status 1 if one does not hold."""
    unknown = [name for name in names or () if name not in PROOFS]
    if unknown:
        raise typer.BadParameter(f"unknown proof {unknown[0]!r}; known: {', '.join(PROOFS)}")
    chosen = [PROOFS[name] for name in names or PROOFS]
    if show:
        for proof in chosen:
            print(f"{proof.name}: {proof.text}")
        return
    found = prove_all(chosen, jobs=jobs, keep=keep, said=lambda one: say(
        f"{one.proof.name}: {'PASS' if one.passed else 'FAIL'} ({one.seconds:.1f} s)"))
    if as_json:
        print(json.dumps([one.to_dict() for one in found]))
    else:
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
    if not all(one.passed for one in found):
        raise typer.Exit(1)


def main() -> None:
    """Run the commands of sim."""
    run_program(SIM, "python -m sim")


if __name__ == "__main__":
    main()
