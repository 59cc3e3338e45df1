"""What attention's products cost on the array: launches whose weights are keys or values."""

from collections.abc import Iterable
from typing import Any

from compiler.graph import AttentionOp
from compiler.key_form import KeyForm
from hw.config import Machine
from hw.kernel import gemm_program, plan_gemm
from hw.pack import shape_spec
from hw.plan import Plan, PlanError
from sim.cycles import run_cycles
from sim.gemm import regions_of
from sim.memory import Memory

__all__ = ["attention_totals", "refusal"]

SUMS = ("launches", "macs", "cycles", "dram_bytes", "compulsory_bytes")


def _plan(machine: Machine, op: AttentionOp, form: KeyForm) -> Plan:
    """Raises ``ValueError`` for a product that the array does not run."""
    if op.values:
        form.weight_bits(op.k, machine.act_bits)
        group = op.k
    else:
        form.scale_bits(op.k, machine.act_bits)
        group = form.group(op.k)
    return plan_gemm(machine, shape_spec(machine, op.m, op.k, op.n, form.datatype, group, False))


def refusal(machine: Machine, op: AttentionOp, form: KeyForm) -> str | None:
    """Why the array does not run ``op``; None if it does."""
    try:
        _plan(machine, op, form)
    except (ValueError, PlanError) as error:
        return str(error)
    return None


def attention_totals(machine: Machine, found: Iterable[AttentionOp], memory: Memory,
                     form: KeyForm) -> dict[str, Any]:
    """Sums over attention's launches, each alone in memory; products of one shape are estimated
    once."""
    sums = dict.fromkeys(SUMS, 0)
    known: dict[Plan, int] = {}
    for op in found:
        plan = _plan(machine, op, form)
        if plan not in known:
            known[plan] = run_cycles(machine, gemm_program(plan, regions_of(plan)[0]),
                                     memory).counters["run"]
        for name, each in (("launches", 1), ("macs", plan.spec.macs), ("cycles", known[plan]),
                           ("dram_bytes", plan.dram_bytes),
                           ("compulsory_bytes", plan.compulsory_bytes)):
            sums[name] += op.launches * each
    return {"keys_and_values": form.name, **sums}
