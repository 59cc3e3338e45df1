"""Each pass on its own: what it adds to the program, and what its verifier sees."""

from dataclasses import replace

import networkx as nx
import pytest

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.checkpoints.tensor_inventory import architecture
from bitwright.compiler.ir.lowering import dataflow
from bitwright.compiler.ir.memory_map import MapError, Wanted, allocate
from bitwright.compiler.ir.program import HostOp, LinearOp, Options, Program, VerifyError
from bitwright.compiler.passes.pass_order import PASSES, run_passes
from bitwright.compiler.passes.session import Session
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.tiling.gemm_spec import GemmSpec
from bitwright.models.architectures.families import transformer
from tests.compiler.tiny import BERT, DOWN, LLAMA, QUERY

NAMES = [step.name for step in PASSES]
OPTIONS = Options(tokens=5, group_size=16)


@pytest.fixture
def stages(checkpoint, tmp_path):
    """The program after each pass, by name, and the session."""
    found = {}
    with open_checkpoint(checkpoint) as opened:
        session = Session(checkpoint=opened, folder=tmp_path)
        run_passes(Program(machine=PRESETS["tiny"], options=OPTIONS), session,
                   found.__setitem__)
        yield found, session


def op(program, name=DOWN):
    return program.graph.nodes[name]["op"]


def test_what_each_pass_adds(stages):
    found, _ = stages
    assert list(found) == NAMES == ["read", "choose", "tile", "allocate", "quantize", "emit",
                                    "report"]
    has = {
        "choose": lambda p: op(p).scheme == "int4" and op(p).kind is not None,
        "tile": lambda p: op(p).plan is not None,
        "allocate": lambda p: op(p).place is not None and p.memory_map is not None,
        "quantize": lambda p: op(p).accumulator_bound is not None,
        "emit": lambda p: op(p).emitted, "report": lambda p: op(p).row and p.totals is not None}
    for name, test in has.items():
        for stage, program in found.items():
            assert bool(test(program)) == (NAMES.index(stage) >= NAMES.index(name)), (name, stage)


@pytest.mark.parametrize("name", NAMES)
def test_print_after(command, checkpoint, tmp_path, name):
    marks = {"read": "linear 5x40x24", "choose": "int4 group 16", "tile": "chunks",
             "allocate": "program 0x", "quantize": "|y| <=", "emit": "emitted",
             "report": "cycles,"}
    arguments = ("map", checkpoint, "--machine", "tiny", "--tokens", 5, "--group-size", 16,
                 "--out", tmp_path / "out", "--print-after", name)
    _, out, _ = command(*arguments)
    _, json_out, err = command(*arguments, "--json")
    (line,) = [line for line in out.splitlines() if line.startswith(f"  {DOWN}(")]
    assert line.startswith(f"  {DOWN}(encoder.layer.0.activation): ") and line in err.splitlines()
    for other, mark in marks.items():
        assert (mark in line) == (NAMES.index(other) <= NAMES.index(name)), other
    assert json_out.startswith("{")


def broken(program, **changes):
    return program.with_linears([replace(op(program), **changes)])


FAULTS = {
    "read": lambda p: broken(p, k=0),
    "choose": lambda p: broken(p, group_size=41),
    "tile": lambda p: broken(p, plan=op(p, QUERY).plan),
    "allocate": lambda p: broken(p, place=replace(op(p).place, scales=op(p).place.weights)),
    "quantize": lambda p: broken(p, accumulator_bound=1 << 31),
    "emit": lambda p: broken(p, place=replace(op(p).place, outputs=op(p).place.outputs + 4096)),
    "report": lambda p: broken(p, row={**op(p).row, "utilization": 1.1}),
}


@pytest.mark.parametrize("name", NAMES)
def test_verifiers_see_faults(stages, name):
    found, session = stages
    step = PASSES[NAMES.index(name)]
    step.verify(found[name], session)
    with pytest.raises(VerifyError):
        step.verify(FAULTS[name](found[name]), session)


def test_a_fault_stops_the_passes(checkpoint, tmp_path, monkeypatch):
    import bitwright.compiler.passes.pass_order as passes

    steps = list(PASSES)
    tile = steps[2]
    steps[2] = replace(tile, run=lambda p, s: broken(tile.run(p, s), plan=None))
    monkeypatch.setattr(passes, "PASSES", tuple(steps))
    seen = []
    with open_checkpoint(checkpoint) as opened, pytest.raises(VerifyError, match=DOWN):
        run_passes(Program(machine=PRESETS["tiny"], options=OPTIONS),
                   Session(checkpoint=opened, folder=tmp_path), lambda name, _: seen.append(name))
    assert seen == ["read", "choose"] and not list(tmp_path.iterdir())


def test_passes_leave_their_input_alone(stages):
    found, _ = stages
    assert op(found["read"]).kind is None and op(found["tile"]).place is None


def test_graphs_must_be_typed_and_acyclic(stages):
    program = stages[0]["read"]
    program.verify()
    graph = program.graph.copy()
    graph.add_edge(DOWN, QUERY)
    with pytest.raises(VerifyError, match="cycle"):
        replace(program, graph=graph).verify()
    graph = program.graph.copy()
    graph.add_node("stray")
    with pytest.raises(VerifyError, match="stray"):
        replace(program, graph=graph).verify()


# ---- dataflow -----------------------------------------------------------------------------
def test_bert_graph():
    linears = architecture(BERT).linears
    graph = dataflow(architecture(BERT).model, BERT, 5)
    ops = dict(graph.nodes(data="op"))
    assert [o.name for o in ops.values() if isinstance(o, LinearOp)] == [f.name for f in linears]
    assert list(nx.topological_sort(graph))[0] == "embeddings"
    layer = "encoder.layer.0"
    assert set(graph.predecessors(f"{layer}.attention.scores")) == {
        f"{layer}.attention.self.query", f"{layer}.attention.self.key"}
    assert set(graph.predecessors(f"{layer}.attention.values")) == {
        f"{layer}.attention.softmax", f"{layer}.attention.self.value"}
    assert set(graph.predecessors(f"{layer}.residual")) == {
        f"{layer}.attention.output.LayerNorm", f"{layer}.output.dense"}
    assert list(graph.predecessors("encoder.layer.1.attention.self.query")) == [
        f"{layer}.output.LayerNorm"]
    assert [n for n in graph if not graph.out_degree(n)] == ["encoder.layer.1.output.LayerNorm"]


def test_llama_graph():
    graph = dataflow(transformer(LLAMA), LLAMA, 5)
    layer = "model.layers.0"
    assert set(graph.predecessors(f"{layer}.activation")) == {f"{layer}.mlp.gate_proj",
                                                        f"{layer}.mlp.up_proj"}
    assert list(graph.predecessors(f"{layer}.rotary_k")) == [f"{layer}.self_attn.k_proj"]
    assert list(graph.predecessors("lm_head")) == ["model.norm"]
    assert [n for n in graph if not graph.out_degree(n)] == ["lm_head"]
    assert sum(isinstance(o, HostOp) for _, o in graph.nodes(data="op")) == 10


# ---- memory -------------------------------------------------------------------------------
def spec(m, n, k=64):
    return GemmSpec(m=m, k=k, n=n, digits=((0, 4),), sigma=True, group_size=k)


WIDE = Machine(rows=8, cols=8, k_tile=64, builders=4, memory_bits=128,
               program_depth=8192)


def test_addresses_end_at_32_bits():
    plan = plan_gemm(WIDE, spec(8, 1024, 65536))
    size = plan.weight_bytes + plan.scale_bytes + 2 * 8 * 1024  # 32 MiB and more
    fit = (1 << 32) // size
    allocate([Wanted(str(index), plan) for index in range(fit - 1)])
    with pytest.raises(MapError, match=rf"layer ({fit - 1}|{fit}): .* 4294967296"):
        allocate([Wanted(str(index), plan) for index in range(fit + 1)])


def test_every_part_has_room():
    # 2048 columns of 4 bytes are two pages, one layer after another.
    plan = plan_gemm(WIDE, spec(8, 64, 2048))
    for bias, columns in ((False, False), (True, False), (False, True), (True, True)):
        found, places = allocate([Wanted(str(index), plan, bias, columns) for index in range(2)])
        one, two = places
        assert (one.bias is not None, one.columns is not None) == (bias, columns)
        parts = [(one.weights, plan.stored_bytes), (one.scales, plan.scale_bytes),
                 (one.correction, 8 * 64), (one.channel_scale, 8 * 64), (one.bias, 4 * 64),
                 (one.columns, 4 * 2048), (two.weights, 0)]
        known = [(start, size) for start, size in parts if start is not None]
        for (start, size), (following, _) in zip(known, known[1:], strict=False):
            assert start + size <= following
        last = max(place for place in (two.channel_scale + 8 * 64, two.bias and two.bias + 4 * 64,
                                       two.columns and two.columns + 4 * 2048) if place)
        assert last <= found.acts


def test_outputs_end_at_32_bits():
    long = plan_gemm(WIDE, spec(1 << 20, 448))  # 1.75 GiB of outputs
    heavy = plan_gemm(WIDE, spec(8, 1024, 65536))
    layers = [Wanted(str(index), heavy) for index in range(80)]  # more than 2.5 GiB of weights
    allocate(layers[:40] + [Wanted("long", long)])
    with pytest.raises(MapError, match="--tokens"):
        allocate([*layers, Wanted("long", long)])
