"""Any number of tokens through layers with programs for four and for one."""

import json
from dataclasses import replace

import numpy as np
import pytest

import bitwright.compiler.runtime.launch_splitting
import bitwright.compiler.runtime.launcher
from bitwright.compiler.backends.rtl import RtlExecutor
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.runtime.array_arithmetic import Array
from bitwright.compiler.runtime.generation import generate
from bitwright.compiler.runtime.launch_splitting import Pieces, in_a_row
from bitwright.compiler.runtime.launcher import Launches
from bitwright.compiler.runtime.mapped_model import MappedModel
from bitwright.hw.codegen.launch_programs import Launch, plan_alike
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.verilator.series_run import launch_cycles
from tests.compiler.whole import call

UP = "model.layers.0.mlp.up_proj"


def counted(launch):
    return launch_cycles(launch, Memory()).counters["run"]


@pytest.fixture(scope="module")
def op(decoding):
    return open_image(decoding).layer(UP)


@pytest.mark.parametrize("tokens", [1, 3, 4, 5, 7, 8, 11])
def test_whole_pieces_then_what_is_cheaper(op, tokens):
    found = Pieces(counted).launches(op, tokens)
    whole, rest = divmod(tokens, 4)
    assert sum(launch.plan.spec.m for launch in found) == tokens
    assert [launch.plan for launch in found[:whole]] == [op.planned] * whole
    assert [launch.again for launch in found] == [False] + [True] * (len(found) - 1)
    if rest:
        first = whole == 0
        at_once = counted(Launch(plan_alike(op.planned, rest), not first))
        singly = counted(Launch(op.one, not first)) + (rest - 1) * counted(Launch(op.one, True))
        assert sum(map(counted, found[whole:])) == min(at_once, singly)


def test_either_way_may_be_cheaper(op):
    def dear(m):
        return Pieces(lambda launch: 10**6 if launch.plan.spec.m == m else counted(launch))

    assert [launch.plan.spec.m for launch in dear(1).launches(op, 7)] == [4, 3]
    assert [launch.plan.spec.m for launch in dear(3).launches(op, 7)] == [4, 1, 1, 1]


def test_token_by_token_where_no_other_program_fits(op, monkeypatch):
    def none(plan, m):
        raise PlanError("too long")

    monkeypatch.setattr(bitwright.compiler.runtime.launch_splitting, "plan_alike", none)
    assert [launch.plan.spec.m for launch in Pieces(counted).launches(op, 7)] == [4, 1, 1, 1]


def test_weights_are_left_out_only_where_they_lie_as_needed(op):
    stays, comes = op.planned, replace(op.planned, stay=False)
    assert [launch.again for launch in in_a_row([stays, stays, comes, stays, stays])] == [
        False, True, False, False, True]


@pytest.fixture(scope="module")
def arrays(decoding):
    """Accumulators of a layer for 7 tokens, by backend, and its launches."""
    image = open_image(decoding)
    mapped = MappedModel(image)
    x = np.random.default_rng(3).normal(size=(7, 16)).astype(np.float32)
    found = {}
    for backend in ("golden", "rtl"):
        with Launches(image.machine, backend, image.options.memory) as launches:
            y = Array(image, mapped.tensors, launches, 1, KeyForm("int8")).linear(UP, x)
        found[backend] = y, launches
    return found


def test_a_layer_of_seven_tokens_on_the_rtl(arrays, op):
    (y, golden), (same, rtl) = arrays["golden"], arrays["rtl"]
    assert (y == same).all() and rtl.good and rtl.first_difference is None
    expected = Pieces(counted).launches(op, 7)
    total = rtl.totals
    assert golden.totals.launches == 0 and total.launches == len(expected) > 1
    assert total.rtl_cycles == total.cycles == sum(map(counted, expected))
    assert total.macs == 7 * op.k * op.n and total.engines == total.rtl_engines


@pytest.mark.parametrize("what, bits, counters", [("bits", 3, 0), ("counter", 0, 1)])
def test_differences_in_a_row_are_counted(decoding, monkeypatch, what, bits, counters):
    def differently(executor, job):
        outcome = run_job(executor, job)
        if what == "bits":
            outcome.accumulators[0][5, 2] ^= 0b1011
            return outcome
        first, second, *rest = outcome.counters
        second = {**second, "load_busy": second["load_busy"] + 1}
        return replace(outcome, counters=(first, second, *rest))

    run_job = RtlExecutor.run
    monkeypatch.setattr(RtlExecutor, "run", differently)
    image = open_image(decoding)
    x = np.random.default_rng(3).normal(size=(7, 16)).astype(np.float32)
    with Launches(image.machine, "rtl", image.options.memory) as launches:
        Array(image, MappedModel(image).tensors, launches, 1, KeyForm("int8")).linear(UP, x)
    total = launches.totals
    assert (total.wrong_bits, total.wrong_counters) == (bits, counters)
    assert launches.first_difference == UP and not launches.good


def test_text_is_that_of_other_images(command, decoding, images):
    """Programs change cycles, never tokens."""
    arguments = ("--prompt", "c d e a b c d", "--tokens", 3)
    plain = call(command, "generate", images["llama"], *arguments)
    runs = {backend: call(command, "generate", decoding, *arguments, "--backend", backend)
            for backend in ("golden", "cycles", "rtl")}
    for found in runs.values():
        assert found["ids"] == plain["ids"] and found["text"] == plain["text"]
    assert runs["rtl"]["totals"]["mismatching_bits"] == 0
    assert runs["rtl"]["totals"]["mismatching_counters"] == 0
    cycles = runs["cycles"]
    assert cycles["cycles"] == runs["rtl"]["cycles"]
    assert sum(cycles["cycles"]) == runs["rtl"]["totals"]["rtl_cycles"]
    report = json.loads((decoding / "report.json").read_text())["totals"]["programs"]
    assert cycles["programs"] == {name: report[name] for name in ("prefill", "decode")}
    assert runs["golden"]["programs"] is None and "prompt_tokens_per_second" not in runs["golden"]
    assert np.isclose(cycles["prompt_tokens_per_second"], 7 * 80e6 / cycles["cycles"][0])


def linear_cycles(found):
    return sum(part["cycles"] for name, part in found["operators"].items()
               if name not in ("attention_scores", "attention_values"))


def test_the_prompt_takes_pieces_and_every_token_the_programs_for_one(command, decoding,
                                                                      monkeypatch):
    """With every layer in launches of its own, cycles are those of its programs; layers that share
    launches take fewer."""
    arguments = ("generate", decoding, "--prompt", "c d e a b c d", "--tokens", 3, "--backend",
                 "cycles")
    shared = call(command, *arguments)
    monkeypatch.setattr(bitwright.compiler.runtime.launcher,
                        "split_chain", lambda plans, kinds: [1] * len(plans))
    apart = call(command, *arguments)
    pieces, layers = Pieces(counted), open_image(decoding).layers.values()
    prompt = sum(sum(map(counted, pieces.launches(op, 1 if op.role == "lm_head" else 7)))
                 for op in layers)
    assert len(apart["ids"]) == 3
    assert linear_cycles(apart) == prompt + 2 * apart["programs"]["decode"]
    assert linear_cycles(shared) < linear_cycles(apart)


def test_people_read_both(command, decoding):
    code, out, _ = command("generate", decoding, "--prompt", "a b", "--tokens", 2, "--backend",
                           "cycles")
    report = json.loads((decoding / "report.json").read_text())["totals"]["programs"]
    assert code == 0 and (f"4 tokens in {report['prefill']:,} cycles of the linear layers, one in "
                          f"{report['decode']:,}") in out.replace("\n", " ")


def test_weights_that_stay_save_their_loads(checkpoints, decoding, tmp_path):
    """The same model with and without room for a layer's weights: the same text."""
    machine = PRESETS["tiny"].replace(weight_depth=32)
    map_checkpoint(checkpoints["llama"], tmp_path / "out", machine,
                   Options(tokens=4, group_size=8, decode=True))
    texts, cycles = [], []
    for folder in (decoding, tmp_path / "out"):
        image = open_image(folder)
        with Launches(image.machine, "rtl", image.options.memory) as launches:
            found = generate(image, "a b c d e f g", 2, launches, None)
        assert launches.good
        texts.append(found.ids)
        cycles.append(found.cycles[0])
    assert texts[0] == texts[1] and cycles[0] < cycles[1]
