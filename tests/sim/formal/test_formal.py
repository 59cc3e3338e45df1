"""Proofs: a broken circuit is refuted, and the command line."""

import dataclasses
import json

import pytest
from amaranth.hdl import Fragment, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.array.table_builders import RowBuilders
from bitwright.sim.formal import queues
from bitwright.sim.formal import table_filler as fill
from bitwright.sim.formal.catalog import PROOFS
from bitwright.sim.formal.harness import Schedule
from bitwright.sim.formal.run import FormalError, prove, prove_all


class LosesTokens(wiring.Component):
    """A token queue that forgets a token given in the cycle in which one is taken."""
    give: In(1)
    credit: In(8)
    credit_valid: In(1)
    ready: Out(1)
    take: In(1)

    def elaborate(self, platform):
        m = Module()
        after = Signal(signed(9), init=-1)
        m.d.comb += self.ready.eq(~after[-1])
        m.d.sync += after.eq(after + (self.give & ~self.take) - self.take
                             + Mux(self.credit_valid, self.credit, 0))
        return m


def test_a_sound_queue_is_proven(tmp_path):
    outcome = prove(PROOFS["tokens"], tmp_path)
    assert outcome.passed and outcome.failures == () and outcome.trace is None


def test_a_queue_that_loses_tokens_is_refuted(monkeypatch, tmp_path):
    monkeypatch.setattr(queues, "TokenQueue", LosesTokens)
    (outcome,) = prove_all([PROOFS["tokens"]], keep=tmp_path)
    assert not outcome.passed
    assert "tokens lost or doubled" in outcome.failures
    assert outcome.trace.startswith(str(tmp_path / "tokens"))
    assert "$var" in open(outcome.trace, encoding="utf-8").read()


def test_a_wrong_sign_in_a_table_is_refuted(monkeypatch, tmp_path):
    right = RowBuilders._sum
    monkeypatch.setattr(RowBuilders, "_sum", staticmethod(lambda x, a: right(x ^ 2, a)))
    (outcome,) = prove_all([PROOFS["fill-lutram"]])
    assert not outcome.passed and outcome.failures == ("a table entry is wrong",)
    assert outcome.trace is None


def test_a_job_without_a_verdict_is_an_error(tmp_path):
    broken = dataclasses.replace(PROOFS["tokens"], solver="smtbmc no-such-solver")
    with pytest.raises(FormalError, match="proof tokens gave no verdict"):
        prove(broken, tmp_path)


def test_an_entry_of_a_ternary_table_by_its_number():
    entries = fill._entries(Machine(table="tl2", cols=4, k_tile=12, memory_bits=16))
    assert [9 * a + 3 * b + c for a, b, c in entries] == list(range(14))


def test_a_port_is_scheduled_once_per_cycle():
    unit = LosesTokens()
    Fragment.get(unit, None)
    plan = Schedule(unit, ())
    plan.put(3, take=1)
    with pytest.raises(ValueError, match="port take is scheduled twice in cycle 3"):
        plan.put(3, take=0)


def test_list(command):  # noqa: F811
    status, out, _ = command("formal", "--list")
    lines = out.splitlines()
    assert status == 0 and len(lines) == len(PROOFS)
    assert all(line.startswith(f"{name}: ") and line.endswith(".")
               for line, name in zip(lines, PROOFS, strict=True))


def test_unknown_proof(command):  # noqa: F811
    status, _, err = command("formal", "nothing")
    assert status == 2 and "nothing" in err


def test_json(command, monkeypatch):  # noqa: F811
    status, out, err = command("formal", "tokens", "--json")
    assert status == 0 and err.startswith("tokens: PASS (")
    (found,) = json.loads(out)
    assert {**found, "seconds": 0} == {
        "name": "tokens", "property": PROOFS["tokens"].text, "method": "induction", "depth": 2,
        "seconds": 0, "passed": True, "failures": [], "trace": None}


def test_a_failure_is_said_and_is_the_exit_status(command, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setattr(queues, "TokenQueue", LosesTokens)
    status, out, _ = command("formal", "tokens", "--keep", str(tmp_path))
    assert status == 1 and "FAIL" in out
    assert "tokens: tokens lost or doubled" in out
    assert f"tokens: counterexample in {tmp_path}" in out
    status, out, _ = command("formal", "tokens")
    assert status == 1 and "--keep DIR" in out
