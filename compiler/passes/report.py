"""What the model costs on the machine: cycles by the cycle model, bytes, and the host's share."""

from dataclasses import replace
from typing import Any

from compiler.graph import HostOp, LinearOp, Program, VerifyError
from compiler.passes.emit import layer_program
from compiler.passes.session import Progress
from hw.plan import Plan
from sim.cycles import run_cycles
from sim.memory import Memory


def padding(op: LinearOp) -> list[str]:
    """What the machine computes beyond the layer's shape, in words."""
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


def layer_row(op: LinearOp, memory: Memory, cycles: int) -> dict[str, Any]:
    """One row of the report. ``cycles`` run from the first instruction to the last."""
    plan, machine = op.planned, op.planned.machine
    peak = machine.macs_per_cycle(plan.spec.slots)
    roofline, bound = plan.roofline(memory.interval)
    return {
        "name": op.name, "m": op.m, "k": op.k, "n": op.n, "weights": op.scheme,
        "datatype": op.chosen.name, "pe": machine.pe, "slices_per_weight": plan.spec.slots,
        "bits_per_weight": 8 * (plan.stored_bytes + plan.scale_bytes) / (op.k * op.n),
        "group_size": op.group_size, "asymmetric": op.asymmetric, "macs": op.macs,
        "cycles": cycles, "utilization": op.macs / (cycles * peak),
        "weight_bytes": plan.stored_bytes, "scale_bytes": plan.scale_bytes,
        "dram_bytes": plan.dram_bytes, "compulsory_bytes": plan.compulsory_bytes, "bound": bound,
        "roofline_cycles": roofline, "k_stored": op.stored_k,
        "k_padded": plan.k_tiles * machine.k_tile, "n_padded": plan.n_padded,
        "notes": [*padding(op), *op.notes], "instructions": op.placed.instructions,
        "row_mode": plan.row_mode, "accumulator_bound": op.accumulator_bound,
        "sqnr_db": op.sqnr_db,
    }


def host_rows(program: Program, array_macs: int) -> list[dict[str, Any]]:
    """Operators left to the host, like ones together; shares are of all multiply-accumulates."""
    ops = [*program.host]
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
            for key in ("macs", "cycles", "weight_bytes", "scale_bytes", "dram_bytes",
                        "compulsory_bytes")}
    ideal = sum(op.macs / program.machine.macs_per_cycle(op.planned.spec.slots)
                for op in program.linears)
    weights = sum(op.k * op.n for op in program.linears)
    hosted = host_rows(program, sums["macs"])
    return {
        **sums, "utilization": ideal / sums["cycles"],
        "roofline_cycles": sum(row["roofline_cycles"] for row in rows), "layers": len(rows),
        "bits_per_weight": 8 * (sums["weight_bytes"] + sums["scale_bytes"]) / weights,
        "array_share": 1 - sum(row["share"] for row in hosted), "host": hosted,
    }


def run(program: Program, session: Progress) -> Program:
    """Cycles of one launch per layer, alone in the memory of the options."""
    machine, memory = program.machine, program.options.memory
    known: dict[Plan, int] = {}  # layers of one plan differ in addresses, by whole pages

    def cycles(op: LinearOp) -> int:
        if op.planned not in known:
            result = run_cycles(machine, layer_program(op), memory, op.placed.program)
            known[op.planned] = result.counters["run"]
        return known[op.planned]

    done = program.with_linears(replace(op, row=layer_row(op, memory, cycles(op)))
                                for op in session.track(program.linears, "estimate"))
    return replace(done, totals=totals(done))


def verify(program: Program, session: Progress) -> None:
    for op in program.linears:
        if not op.row or not 0 < op.row["utilization"] <= 1:
            raise VerifyError(f"layer {op.name} is reported to use more than the whole array")
    if program.totals is None:
        raise VerifyError("the report has no totals")
