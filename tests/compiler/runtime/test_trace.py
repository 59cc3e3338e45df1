"""Traces: what they show is the run, and recording changes nothing."""

import json
from collections import defaultdict

import pytest

import bitwright.compiler.runtime.shared_launches
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import LinearOp
from bitwright.compiler.runtime.shared_launches import layer_chains
from bitwright.compiler.runtime.timeline import TRACKS, Events, timeline, trace_text
from bitwright.hw.codegen.gemm_program import Regions, gemm_program, plan_gemm
from bitwright.hw.isa.program_tree import Instr, Loop
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.models.datatypes.catalog import DATATYPES, datatype
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import run_cycles
from bitwright.sim.verification.gemm_fuzz import random_case
from tests.compiler.tiny import DOWN
from tests.compiler.whole import TEXT, call

BOARD = PRESETS["ulx3s-85f"]
REGIONS = Regions(weights=1 << 20, scales=2 << 20, acts=3 << 20, outputs=4 << 20)


def tracks(events):
    found = defaultdict(list)
    for event in events:
        found[event.track].append(event)
    return found


def check_order(events):
    for track, found in tracks(events).items():
        assert track in TRACKS
        for event in found:
            assert 0 <= event.start < event.end, event
        for before, after in zip(found, found[1:], strict=False):
            assert before.end <= after.start, (before, after)


def test_recording_changes_no_counter():
    for seed in range(60):
        case = random_case(seed)
        spec = shape_spec(case.machine, case.m, case.k, case.n, datatype(case.datatype),
                          case.group_size, case.asymmetric)
        plan = plan_gemm(case.machine, spec)
        nodes = gemm_program(plan, REGIONS)
        usual = run_cycles(case.machine, nodes, case.memory)
        for most in (0, 40, 1_000_000):
            events = Events(most)
            assert run_cycles(case.machine, nodes, case.memory, 0, events) == usual, seed
            check_order(events.finish())
        check_whole(events.finish(), usual, plan, case.memory, seed)


def check_whole(events, result, plan, memory, seed):
    """Events of a run of which nothing was left out."""
    found, counters = tracks(events), result.counters
    run = [event for event in found["execute"]]
    assert run[-1].end == counters["total"] + 1 and run[0].start == counters["total"] + 1 - (
        counters["run"]), seed
    assert all(a.end == b.start for a, b in zip(run, run[1:], strict=False)), seed
    assert sum(event.values.get("slices", 0) for event in run) == counters["execute_busy"], seed
    for cause in ("weights", "activations", "outputs", "stores", "loads", "instructions",
                  "finish"):
        assert sum(event.end - event.start for event in run if event.name == cause) == (
            result.causes[cause]), (seed, cause)
    program = sum(event.values["bytes"] for event in found["load"] if event.name == "program")
    moved = plan.dram_bytes + program
    for names in (("load", "store"), ("bus",)):
        assert sum(event.values["bytes"] for name in names for event in found[name]) == moved, seed
    beat = plan.machine.beat_bytes
    for event in found["bus"]:
        assert event.end - event.start == event.values["bytes"] // beat * memory.interval, seed


@pytest.mark.parametrize("most", [100, 1000])
def test_a_long_launch_shows_its_first_and_last_events(most):
    plan = plan_gemm(BOARD, shape_spec(BOARD, 2048, 4096, 4096, DATATYPES["int4"], 64, False))
    nodes = gemm_program(plan, REGIONS)
    usual = run_cycles(BOARD, nodes, Memory())
    events = Events(most)
    assert run_cycles(BOARD, nodes, Memory(), 0, events) == usual
    found = events.finish()
    check_order(found)
    gaps = [event for event in found if event.name.startswith("not shown")]
    assert events.left_out and len(found) - len(gaps) <= most
    assert found[0].name == "program" and max(event.end for event in found) == (
        usual.counters["total"] + 1)
    run = tracks(found)["execute"]
    assert all(a.end == b.start for a, b in zip(run, run[1:], strict=False))
    (gap,) = (event for event in gaps if event.track == "execute")
    assert gap.end - gap.start > usual.counters["run"] / 2


def test_data_on_its_way_while_repetition_is_left_out():
    # A transfer of 2,000 beats goes on when its turn of the loop is over.
    body = (*[Instr.make("add", reg=1, value=0)] * 700, Instr.make("load", beats=2000))
    events = Events(20)
    run_cycles(PRESETS["tiny"], (Loop(600, body), Instr("halt")), Memory(), 0, events)
    found = [event for event in events.finish() if event.track == "load" and event.values]
    assert events.left_out and len(found) > 3
    for event in found[1:]:
        assert event.values == {"bytes": 8000} and 2000 <= event.end - event.start < 2050


def read(path):
    return json.loads(path.read_text())


def test_every_layer_in_one_trace(command, mapped, tmp_path):
    out = tmp_path / "trace.json"
    code, said, err = command("trace", mapped, "--out", out)
    assert (code, err) == (0, "") and "12 launches" in said
    trace = read(out)
    assert trace["otherData"]["unit"] == "1 us is one cycle"
    names = {event["tid"]: event["args"]["name"] for event in trace["traceEvents"]
             if event["ph"] == "M" and event["name"] == "thread_name"}
    assert list(names.values()) == ["launches", "dispatcher", "load", "table filler", "execute",
                                    "store", "DRAM bus"]
    rows = {row["name"]: row for row in read(mapped / "report.json")["layers"]}
    complete = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(complete) + len([e for e in trace["traceEvents"] if e["ph"] == "M"]) == len(
        trace["traceEvents"])
    assert {event["pid"] for event in complete} == {1}
    launches = [event for event in complete if event["tid"] == 1]
    assert [event["name"] for event in launches] == [*rows]
    now = 0
    for launch in launches:
        row = rows[launch["name"]]
        assert (launch["ts"], launch["dur"]) == (now, row["total_cycles"])
        assert launch["args"]["causes"] == row["causes"]
        within = [event for event in complete if names[event["tid"]] == "execute"
                  and now < event["ts"] <= now + launch["dur"]]
        assert sum(event["dur"] for event in within) == row["cycles"]
        now += launch["dur"]
    for number in names:
        found = [event for event in complete if event["tid"] == number]
        assert found and all(a["ts"] + a["dur"] <= b["ts"]
                             for a, b in zip(found, found[1:], strict=False))


@pytest.mark.parametrize("name, text", [("bert", TEXT), ("llama", "a")])
def test_layers_together_as_when_a_text_runs(command, images, tmp_path, name, text):
    out = tmp_path / "trace.json"
    code, said, err = command("trace", images[name], "--together", "--out", out)
    run = call(command, "run", images[name], "--text", text, "--kv", "float", "--backend", "cycles")
    total = run["totals"]
    events = [event for event in read(out)["traceEvents"] if event["ph"] == "X"]
    launches = [event for event in events if event["tid"] == 1]
    assert (code, err) == (0, "") and f"{total['launches']} launches" in said
    roles = {layer: op.role for layer, op in open_image(images[name]).layers.items()}
    by_operator, now = defaultdict(int), 0
    for launch in launches:
        assert launch["ts"] == now
        now += launch["dur"]
        names = launch["name"].split(" + ")
        if len(names) > 1:
            assert names == [product["name"] for product in launch["args"]["products"]]
        by_operator[" + ".join(dict.fromkeys(roles[layer] for layer in names))] += (
            launch["args"]["counters"]["run"])
    assert by_operator == {key: part["cycles"] for key, part in run["operators"].items()}
    # Engines overlap: the next product's weights come while the first computes.
    first = launches[0]
    assert len(first["args"]["products"]) == 3
    busy = {track: [event for event in events if event["tid"] == number and event["args"]
                    and event["ts"] < first["dur"]] for track, number in (("load", 3),
                                                                          ("execute", 5))}
    computed = [event["ts"] for event in busy["execute"] if event["name"] == "compute"]
    loaded = [event["ts"] for event in busy["load"] if event["name"] == "weights"]
    assert len(loaded) >= 3 and sum(at < max(computed) for at in loaded) == len(loaded)


def test_layers_that_one_program_does_not_take_are_cut(images, monkeypatch):
    image = open_image(images["bert"])
    whole = [[op.name for op in ops] for ops in layer_chains(image)]
    assert len(whole[0]) == 3
    monkeypatch.setattr(bitwright.compiler.runtime.shared_launches,
                        "split_chain", lambda plans, kinds: (
        [2, len(plans) - 2] if len(plans) > 2 else [len(plans)] * bool(plans)))
    cut = [[op.name for op in ops] for ops in layer_chains(image)]
    assert cut[:2] == [whole[0][:2], whole[0][2:]] and sum(cut, []) == sum(whole, [])


def test_one_layer_the_same_every_time(command, mapped, tmp_path):
    for name in "ab":
        assert command("trace", mapped, "--layer", DOWN, "--out", tmp_path / name)[0] == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    image = open_image(mapped)
    assert (tmp_path / "a").read_text() == trace_text(
        image.machine, [[image.layer(DOWN)]], image.options.memory)
    assert timeline([image.layer(DOWN)], image.options.memory).events


def test_names_are_json_strings(mapped):
    image = open_image(mapped)
    op = image.layer(DOWN)
    name = '"</script>\n\x07é'
    changed = LinearOp(**{**vars(op), "name": name})
    trace = json.loads(trace_text(image.machine, [[changed]], image.options.memory))
    assert name in {event["name"] for event in trace["traceEvents"]}


@pytest.mark.parametrize("arguments, words", [
    (("--layer", "encoder.layer.0.output.dens"), ("no layer", DOWN)),
    (("--out", "nowhere/trace.json"), ("nowhere",))])
def test_refusals(command, mapped, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = command("trace", mapped, *arguments)
    assert (code, out) == (1, "") and err.startswith("error: ") and err.count("\n") == 1
    assert all(word in err for word in words) and not [*tmp_path.iterdir()]
    code, out, err = command("trace", tmp_path)
    assert (code, out) == (1, "") and "manifest.json" in err
    code, out, err = command("trace", mapped, "--together", "--layer", DOWN)
    assert (code, out) == (2, "") and "--layer" in err
