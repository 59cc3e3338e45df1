"""Images with programs for one token beside those for several, on weights stored once."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.memory_map import Wanted, allocate, launches_of
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.passes.emit_programs import layer_programs
from bitwright.compiler.runtime.run_layer import matrix, random_activations, stored_weights
from bitwright.compiler.scheduling.ilp_tiling import plan_fields
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.launch_programs import Launch, launch_program, plan_one_token, staying
from bitwright.hw.isa.program_tree import assemble
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import pack_weights
from bitwright.models.inference.golden import mpgemm
from bitwright.sim.verilator.series_run import launch_cycles, run_series, series
from tests.compiler.image.test_image import drop, edit, set_in
from tests.compiler.whole import call

UP = "model.layers.0.mlp.up_proj"
NAMES = ("prefill", "decode", "prefill_again", "decode_again")


@pytest.fixture(scope="session")
def image(decoding):
    return open_image(decoding)


@pytest.fixture(scope="session")
def narrow(checkpoints, tmp_path_factory):
    """The same on a machine whose weight buffer holds no layer."""
    out = tmp_path_factory.mktemp("narrow") / "llama"
    machine = PRESETS["tiny"].replace(weight_depth=32)
    map_checkpoint(checkpoints["llama"], out, machine, Options(tokens=4, group_size=8, decode=True))
    return out


def test_every_layer_has_four_programs_on_one_copy_of_its_weights(image, decoding, images):
    single = json.loads((images["llama"] / "manifest.json").read_text())
    manifest = json.loads((decoding / "manifest.json").read_text())
    assert manifest["version"] == single["version"] == 4
    assert manifest["options"]["decode"] and not single["options"]["decode"]
    assert "decode" not in single["layers"][0]
    assert (decoding / "weights.bin").stat().st_size < 1.2 * (
        images["llama"] / "weights.bin").stat().st_size
    for op, entry in zip(image.layers.values(), manifest["layers"], strict=True):
        assert entry["decode"]["plan"].items() >= plan_fields(op.one).items()
        assert plan_fields(op.one) != plan_fields(op.planned)
        assert tuple(op.placed.codes) == NAMES and op.one.spec.m == 1 and op.m == 4
        qm = matrix(image, op)
        for plan in (op.planned, op.one):
            packed = pack_weights(plan, qm)
            stored = stored_weights(image, op)
            assert (packed.weights, packed.scales) == (stored.weights, stored.scales)
        for name, launch in op.launches.items():
            assert image.code(op, name) == assemble(launch_program(launch, op.placed.regions))
        assert len({image.code(op, name) for name in NAMES}) == 4


def test_the_stored_programs_in_a_row_on_the_rtl(image):
    """Prefill, then again, one token, and one token again: as the report counts them."""
    op = image.layer(UP)
    qm, a = matrix(image, op), random_activations(replace(op, m=10), 3)
    launches = [op.launches[name] for name in ("prefill", "prefill_again", "decode_again",
                                               "decode_again")]
    y, found = run_series(series(launches), stored_weights(image, op), a)
    assert (y == mpgemm(a, qm)).all()
    report = json.loads((image.folder / "report.json").read_text())
    row = next(row for row in report["layers"] if row["name"] == UP)["programs"]
    assert [found.counters["run"], *(each["run"] for each in found.then)] == [
        row["prefill"], row["prefill_again"], row["decode_again"], row["decode_again"]]


def test_the_report_tells_the_cycles_of_every_program(image, decoding, images, command):
    report = json.loads((decoding / "report.json").read_text())
    for row in report["layers"]:
        op, programs = image.layer(row["name"]), row["programs"]
        assert programs == {name: launch_cycles(op.launches[name], image.options.memory
                                                ).counters["run"] for name in NAMES}
        assert programs["prefill"] == row["cycles"]
        assert programs["prefill_again"] < programs["prefill"]
        assert programs["decode_again"] < programs["decode"] < programs["prefill"]
    totals = report["totals"]["programs"]
    assert totals == {name: sum(row["programs"][name] for row in report["layers"])
                      for name in NAMES}
    line = (f"programs: 4 tokens in {totals['prefill']:,} cycles, one token in "
            f"{totals['decode']:,}; ")
    assert line in (decoding / "report.html").read_text()
    plain = json.loads((images["llama"] / "report.json").read_text())
    assert "programs" not in plain["totals"] and "programs" not in plain["layers"][0]


def test_weights_that_do_not_stay(narrow):
    image, report = open_image(narrow), json.loads((narrow / "report.json").read_text())
    rows = {row["name"]: row["programs"] for row in report["layers"]}
    staying = {name for name, op in image.layers.items() if "decode_again" in op.launches}
    assert UP not in staying
    for name, programs in rows.items():
        assert (programs["decode_again"] is not None) == (name in staying)
    for name in NAMES[:2]:
        assert report["totals"]["programs"][f"{name}_again"] == sum(
            row[name] if row[f"{name}_again"] is None else row[f"{name}_again"]
            for row in rows.values())


def test_map_and_run(command, checkpoints, decoding, tmp_path):
    out = tmp_path / "out"
    code, text, err = command("map", checkpoints["llama"], "--machine", "tiny", "--tokens", 4,
                              "--group-size", 8, "--decode", "--out", out)
    assert code == 0, err
    assert "programs: 4 tokens in" in text
    for name in ("manifest.json", "program.bin", "weights.bin", "report.json", "report.html"):
        assert (out / name).read_bytes() == (decoding / name).read_bytes()
    report = json.loads((decoding / "report.json").read_text())
    row = next(row for row in report["layers"] if row["name"] == UP)
    for more, cycles in (((), row["cycles"]), (("--decode",), row["programs"]["decode"])):
        found = call(command, "run", decoding, "--layer", UP, "--backend", "rtl", *more)
        assert found["mismatches"] == 0 and found["cycles"] == found["model_cycles"] == cycles
    one = np.arange(16, dtype=np.int8)[None]
    np.save(tmp_path / "a.npy", one)
    found = [call(command, "run", decoding, "--layer", UP, "--decode", "--input",
                  tmp_path / "a.npy", "--backend", backend)["sha256"]
             for backend in ("golden", "rtl")]
    assert found[0] == found[1]


def test_trace(command, decoding, tmp_path):
    report = json.loads((decoding / "report.json").read_text())
    for more, name in (((), "prefill"), (("--decode",), "decode")):
        code, _, err = command("trace", decoding, "--out", tmp_path / "t.json", *more)
        assert code == 0, err
        events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
        launches = [event for event in events if event["ph"] == "X" and event["tid"] == 1]
        assert [event["args"]["counters"]["run"] for event in launches] == [
            row["programs"][name] for row in report["layers"]]
        assert {event["args"]["m"] for event in launches} == {1 if more else 4}


def test_disassembly_shows_all(command, decoding, image):
    code, text, _ = command("disasm", decoding, "--layer", UP)
    place = image.layer(UP).placed
    assert code == 0 and text.count("layer ") == 4
    for name in NAMES:
        assert (f"layer {UP}, {name}: {place.codes[name].instructions} instructions at "
                f"{place.codes[name].offset:#x}\n") in text


def test_the_integer_program_decodes_too(checkpoints, tmp_path):
    options = Options(tokens=4, group_size=8, decode=True, schedule="ilp")
    map_checkpoint(checkpoints["llama"], tmp_path / "out", PRESETS["tiny"], options)
    image = open_image(tmp_path / "out")
    assert image.options == options
    assert all(op.planned.stay and op.one is not None for op in image.layers.values())


EDITS = {
    "decode": (set_in("options", "decode", value=False), "memory.program_bytes"),
    "decode as number": (set_in("options", "decode", value=1), "decode must be true or false"),
    "no decode": (drop("options", "decode"), "decode must be true or false"),
    "plan": (set_in("layers", 1, "decode", "plan", "chunk", value=9), "layers.1.decode.plan.chunk"),
    "program": (set_in("layers", 2, "decode", "programs", "decode_again", "offset", value=0),
                "layers.2.decode.programs.decode_again.offset"),
    "missing": (drop("layers", 0, "decode", "programs", "decode"),
                "layers.0.decode.programs.decode is missing"),
    "stay": (set_in("layers", 0, "plan", "stay", value=False), "layers.0.plan.stay"),
    "version": (set_in("version", value=3), "version"),
}


@pytest.mark.parametrize("name", EDITS)
def test_edited_manifest(decoding, tmp_path, name):
    copy = shutil.copytree(decoding, tmp_path / "copy")
    change, words = EDITS[name]
    edit(copy, change)
    with pytest.raises(ImageError, match=words):
        open_image(copy)


@pytest.mark.parametrize("kind, arguments, words", [
    ("bert", ("--tokens", 4), "models that write text"),
    ("llama", ("--tokens", 1), "2 or more")])
def test_where_decode_serves_nothing(command, checkpoints, tmp_path, kind, arguments, words):
    code, out, err = command("map", checkpoints[kind], "--machine", "tiny", "--decode", "--out",
                             tmp_path / "out", *arguments)
    assert code == 1 and out == "" and words in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_refusals(command, images, decoding, tmp_path):
    for arguments in (("run", images["llama"], "--layer", UP),
                      ("trace", images["llama"], "--out", tmp_path / "t.json")):
        code, out, err = command(*arguments, "--decode")
        assert code == 1 and "map the model with --decode" in err and err.count("\n") == 1
    assert not (tmp_path / "t.json").exists()
    code, _, err = command("run", decoding, "--text", "a", "--decode")
    assert code == 2 and "--decode" in err
    code, _, err = command("map", "--shapes-only", "llama-2-7b", "--decode")
    assert code == 2 and "--decode" in err


def test_a_place_for_every_program(image):
    """One layer alone: programs on pages of their own, room for the larger of both."""
    op = image.layer(UP)
    where, (place,) = allocate([Wanted("up", op.planned, one=op.one)])
    assert [code.offset for code in place.codes.values()] == [0, 4096, 8192, 12288]
    assert where.program_bytes == where.weights == 16384
    assert place.program == 0
    many = plan_gemm(image.machine, replace(op.planned.spec, m=9, k=640, n=300))
    where, _ = allocate([Wanted("up", many, one=plan_one_token(many))])
    assert where.acts_bytes >= many.act_bytes > 4096
    assert where.outputs_bytes >= many.out_bytes > 4096
    assert set(launches_of(op.planned, None)) == {"prefill"}
    alone = replace(op.planned, stay=False)
    for one in (plan_one_token(alone), op.one):
        assert set(launches_of(alone, one)) == {"prefill", "decode"}
    assert layer_programs(op)["prefill_again"] == launch_program(
        Launch(staying(plan_gemm(image.machine, op.spec(image.machine))), True), op.placed.regions)
