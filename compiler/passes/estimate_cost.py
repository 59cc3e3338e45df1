"""Estimates the model's cost on the machine: cycles by the cycle model, bytes, and the host's
share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.ir.memory_map import AGAIN, DECODE, PREFILL
from bitwright.compiler.ir.program import AttentionOp, HostOp, LinearOp, Program, VerifyError
from bitwright.compiler.passes.attention_cost import attention_totals
from bitwright.compiler.passes.emit_programs import layer_programs
from bitwright.compiler.passes.session import Progress
from bitwright.hw.codegen.launch_programs import Launch
from bitwright.hw.machine.control_interface import COUNTERS
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleResult, run_cycles
from bitwright.sim.cycle_model.recorder import CAUSES

PROGRAMS = (PREFILL, DECODE, PREFILL + AGAIN, DECODE + AGAIN)


def padding(op: LinearOp) -> list[str]:
    """Return notes on what the machine computes beyond the layer's shape."""
    plan, machine = op.planned, op.planned.machine
    rows = plan.m_tiles * (1 if plan.row_mode else machine.rows)
    padded_k = plan.k_tiles * machine.k_tile
    notes = []
    if op.columns is not None:
        twice = plan.groups - -(-op.k // op.group_size)
        notes.append(f"K {op.k} stored as {op.columns} columns, " +
                     (f"{twice} groups in two parts" if twice else "by group"))
    if padded_k != op.stored_k:
        groups = f"{plan.groups} groups of {op.group_size} in " if plan.groups > 1 else ""
        notes.append(f"K {op.stored_k} padded to {padded_k}: {groups}tiles of {machine.k_tile}")
    if plan.n_padded != op.n:
        notes.append(f"N {op.n} padded to {plan.n_padded}")
    if rows != op.m:
        notes.append(f"M {op.m} padded to {rows}")
    return notes


def layer_row(op: LinearOp, memory: Memory, result: CycleResult) -> dict[str, Any]:
    """Return one row of the report, as docs/reference/report.md explains it."""
    plan, machine = op.planned, op.planned.machine
    cycles = result.counters["run"]
    peak = machine.macs_per_cycle(plan.spec.slots)
    roofline, bound = plan.roofline(memory.interval)
    return {
        "name": op.name, "m": op.m, "k": op.k, "n": op.n, "weights": op.scheme,
        "datatype": op.chosen.name, "pe": machine.pe, "slices_per_weight": plan.spec.slots,
        "bits_per_weight": 8 * (plan.stored_bytes + plan.scale_bytes) / (op.k * op.n),
        "group_size": op.group_size, "asymmetric": op.asymmetric, "macs": op.macs,
        "cycles": cycles, "total_cycles": result.counters["total"],
        "utilization": op.macs / (cycles * peak),
        "causes": result.causes, "engines": result.engines,
        "weight_bytes": plan.stored_bytes, "scale_bytes": plan.scale_bytes,
        "act_bytes": plan.act_bytes, "output_bytes": plan.out_bytes,
        "dram_bytes": plan.dram_bytes, "compulsory_bytes": plan.compulsory_bytes, "bound": bound,
        "roofline_cycles": roofline, "k_stored": op.stored_k,
        "k_padded": plan.k_tiles * machine.k_tile, "n_padded": plan.n_padded,
        "notes": [*padding(op), *op.notes], "instructions": op.placed.instructions,
        "row_mode": plan.row_mode, "accumulator_bound": op.accumulator_bound,
        "sqnr_db": op.sqnr_db,
    }


def program_cycles(op: LinearOp, found: Mapping[str, CycleResult]) -> dict[str, Any]:
    """Return the cycles of each of the layer's programs, where it has one for one token. None
    stands for programs whose weights do not stay on chip."""
    if op.one is None:
        return {}
    return {"programs": {name: found[name].counters["run"] if name in found else None
                         for name in PROGRAMS}}


def total_cycles(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums of the rows' ``programs``, if they have any: a launch after another takes its full
    cycles where weights do not stay."""
    if not all("programs" in row for row in rows):
        return {}
    programs = [row["programs"] for row in rows]
    return {"programs": {name: sum(
        each[name] if each[name] is not None else each[name.removesuffix(AGAIN)]
        for each in programs) for name in PROGRAMS}}


def host_rows(program: Program, array_macs: int, left: Mapping[AttentionOp, str]
              ) -> list[dict[str, Any]]:
    """Return the operators left to the host, like ones together. Attention that the array does not
    run is among them. Shares are of all multiply-accumulates."""
    ops = [*program.host, *(HostOp(name=op.name, operator=op.operator, macs=op.macs,
                                   elements=op.launches * op.m * op.n, reason=reason)
                            for op, reason in left.items())]
    reason = "floating point at the borders of the array"
    for op in program.linears:
        ops += [HostOp(name=op.name, operator="activation quantization", elements=op.m * op.k,
                       reason=reason),
                HostOp(name=op.name, operator="scales and bias", elements=op.m * op.n,
                       reason=reason)]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for host in ops:
        row = rows.setdefault((host.operator, host.reason), {
            "operator": host.operator, "count": 0, "macs": 0, "elements": 0,
            "reason": host.reason})
        row["count"] += 1
        row["macs"] += host.macs
        row["elements"] += host.elements
    total = array_macs + sum(row["macs"] for row in rows.values())
    return [{**row, "share": row["macs"] / total} for row in rows.values()]


def totals(program: Program) -> dict[str, Any]:
    rows = [dict(op.row or {}) for op in program.linears]
    sums = {key: sum(row[key] for row in rows)
            for key in ("macs", "cycles", "total_cycles", "weight_bytes", "scale_bytes",
                        "act_bytes", "output_bytes", "dram_bytes", "compulsory_bytes")}
    causes = {cause: sum(row["causes"][cause] for row in rows) for cause in CAUSES}
    engines = {engine: {name: sum(row["engines"][engine][name] for row in rows) for name in names}
               for engine, names in COUNTERS.items()}
    ideal = sum(op.macs / program.machine.macs_per_cycle(op.planned.spec.slots)
                for op in program.linears)
    weights = sum(op.k * op.n for op in program.linears)
    attention, left = attention_totals(program.machine, program.attention, program.options.memory,
                                       KeyForm())
    hosted = host_rows(program, sums["macs"] + attention["macs"], left)
    return {
        **sums, "causes": causes, "engines": engines, "utilization": ideal / sums["cycles"],
        "roofline_cycles": sum(row["roofline_cycles"] for row in rows), "layers": len(rows),
        "bits_per_weight": 8 * (sums["weight_bytes"] + sums["scale_bytes"]) / weights,
        "array_share": 1 - sum(row["share"] for row in hosted), "host": hosted,
        "attention": attention, **total_cycles(rows),
    }


def run(program: Program, session: Progress) -> Program:
    """Cycles of one launch per layer, alone in the memory of the options."""
    machine, memory = program.machine, program.options.memory
    known: dict[Launch, CycleResult] = {}  # like launches differ in addresses, by whole pages

    def row(op: LinearOp) -> dict[str, Any]:
        nodes = layer_programs(op)
        for name, launch in op.launches.items():
            if launch not in known:
                known[launch] = run_cycles(machine, nodes[name], memory,
                                           op.placed.codes[name].offset)
        found = {name: known[launch] for name, launch in op.launches.items()}
        return layer_row(op, memory, found[PREFILL]) | program_cycles(op, found)

    done = program.with_linears(replace(op, row=row(op))
                                for op in session.track(program.linears, "estimate"))
    return replace(done, totals=totals(done))


def verify(program: Program, session: Progress) -> None:
    for op in program.linears:
        if not op.row or not 0 < op.row["utilization"] <= 1:
            raise VerifyError(f"layer {op.name} is reported to use more than the whole array")
        if sum(op.row["causes"].values()) != op.row["cycles"]:
            raise VerifyError(f"the cycles of layer {op.name} do not all have one cause")
    if program.totals is None:
        raise VerifyError("the report has no totals")
