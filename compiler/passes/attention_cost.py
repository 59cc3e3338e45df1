"""Estimates the cost of attention's products on the array. Their weights are keys or values."""

from collections.abc import Iterable
from typing import Any

from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.ir.program import AttentionOp
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.machine.description import Machine
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.performance.gemm_estimate import plan_cycles

__all__ = ["attention_totals"]

SUMS = ("launches", "macs", "cycles", "dram_bytes", "compulsory_bytes")


def _plan(machine: Machine, op: AttentionOp, form: KeyForm) -> Plan:
    """Raises ``ValueError`` for a product that the array does not run."""
    if op.values:
        form.weight_bits(op.k, machine.act_bits)
    else:
        form.scale_bits(op.k, machine.act_bits)
    return plan_gemm(machine, form.spec(machine, op.values, op.m, op.k, op.n))


def attention_totals(machine: Machine, found: Iterable[AttentionOp], memory: Memory,
                     form: KeyForm) -> tuple[dict[str, Any], dict[AttentionOp, str]]:
    """Sums over attention's launches, each alone in memory; and the products that the array does
    not run, with the reason. Products of one shape are estimated once."""
    sums, left = dict.fromkeys(SUMS, 0), dict[AttentionOp, str]()
    known: dict[tuple[bool, int, int, int], tuple[Plan, int] | str] = {}
    for op in found:
        shape = (op.values, op.m, op.k, op.n)
        if shape not in known:
            known[shape] = _cost(machine, op, memory, form)
        cost = known[shape]
        if isinstance(cost, str):
            left[op] = cost
            continue
        plan, cycles = cost
        for name, each in (("launches", 1), ("macs", plan.spec.macs), ("cycles", cycles),
                           ("dram_bytes", plan.dram_bytes),
                           ("compulsory_bytes", plan.compulsory_bytes)):
            sums[name] += op.launches * each
    return {"keys_and_values": form.name, **sums}, left


def _cost(machine: Machine, op: AttentionOp, memory: Memory, form: KeyForm
          ) -> tuple[Plan, int] | str:
    try:
        plan = _plan(machine, op, form)
    except (ValueError, PlanError) as error:
        return str(error)
    return plan, plan_cycles(plan, memory).counters["run"]
