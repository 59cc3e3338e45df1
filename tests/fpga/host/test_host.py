"""Layers on simulated boards: equal to the golden model, or one clean line and a usable board."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

import bitwright.fpga.host.board_backend
import bitwright.fpga.host.run_layer
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.runtime.run_layer import digest, matrix, random_activations
from bitwright.fpga.host.board_backend import BoardExecutor, BoardSession, HostError, Watch
from bitwright.fpga.host.layer_parts import Cut, cut
from bitwright.fpga.host.run_layer import check_identity, parts_for, run_layer
from bitwright.fpga.link.driver import Board, LinkError
from bitwright.fpga.link.frames import Info
from bitwright.fpga.verification.simulated_board import SimulatedBoard
from bitwright.hw.codegen.gemm_program import plan_gemm, program_bytes
from bitwright.hw.codegen.standalone_layout import layout
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES, Target
from bitwright.hw.isa.program_tree import Instr
from bitwright.hw.machine.control_interface import Registers, Status
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import gemm_spec
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.hw.tiling.tile_plan import align
from bitwright.models.inference.golden import mpgemm
from bitwright.models.quantization.schemes import quantize
from tests.compiler.tiny import DOWN, QUERY
from tests.fpga.host.host_bench import (
    ICEBREAKER,
    MACHINE,
    SMALL,
    TOKENS,
    ULX3S,
    WIDE,
    CutPort,
    SilentPort,
    map_model,
)

BAUD, SEED = 3_000_000, 41


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return open_image(map_model(tmp_path_factory.mktemp("image")))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Its second FFN layer takes more than 128 KiB."""
    return open_image(map_model(tmp_path_factory.mktemp("wide"), config=WIDE, group_size=64))


@pytest.fixture(scope="module")
def ulx3s():
    with SimulatedBoard(ULX3S, MACHINE) as simulated:
        yield simulated
        simulated.stop()    # no rule of the SDRAM is broken in any test


@pytest.fixture(scope="module")
def icebreaker():
    with SimulatedBoard(ICEBREAKER, SMALL) as simulated:
        yield simulated


class Notes(Watch):
    def __init__(self, said):
        self.note = said.append


def run(simulated, image, layer, machine, *, seed=SEED, room=None, **more):
    """A layer on a board, which says that it has ``room`` bytes."""
    op = image.layer(layer)
    with Board.open(simulated.port, BAUD, timeout=5) as board:
        info = board.info()
        session = BoardSession(
            link=board, port=simulated.port, **more,
            info=replace(info, memory_bytes=room or info.memory_bytes))
        return run_layer(session, image, op, machine,
                         random_activations(op, seed, machine.act_bits))


# ---- parts --------------------------------------------------------------------------------
def matrices():
    weights = np.random.default_rng(SEED).normal(size=(11, 32)).astype(np.float32)
    yield quantize(weights, "int4", 16, asymmetric=True)
    for name in ("int8", "bitmod3", "bcq3", "int4_o8"):
        yield quantize(weights, name, 16)


def test_channels_of_a_matrix():
    a = np.random.default_rng(SEED).integers(-128, 128, (3, 32), dtype=np.int8)
    for qm in matrices():
        for part in (slice(0, 4), slice(4, 11), slice(0, 11)):
            assert np.array_equal(mpgemm(a, qm.channels(part)), mpgemm(a, qm)[:, part])


@pytest.mark.parametrize("machine", [MACHINE, SMALL], ids=lambda machine: machine.name)
def test_cut_fits_and_is_coarse(machine):
    """No coarser cut into equal parts would fit."""
    rng = random.Random(SEED)
    qm = quantize(np.ones((8, 256), dtype=np.float32), "int4", 32)
    counts = set()
    for _ in range(6):
        m, n = rng.randint(1, 48), rng.randint(40, 160)
        spec = replace(gemm_spec(machine, m, qm), n=n)

        def need(tokens, channels, m=m, n=n, spec=spec):
            """Bytes of the largest part of any shape that occurs; infinite if one has no plan."""
            try:
                return max(layout(plan_gemm(machine, replace(spec, m=rows, n=width))).size
                           for rows in {tokens, m % tokens or tokens}
                           for width in {channels, n % channels or channels})
            except PlanError:
                return float("inf")

        room = 4096 * rng.randint(1, 12) + need(1, 8)
        how = cut(machine, spec, room)
        assert need(how.tokens, how.channels) <= room, (SEED, m, n, room)
        for pieces in (1, 2, 3, 5):
            for parts in (1, 2, 3, 4):
                other = Cut(tokens=-(-m // pieces),
                            channels=min(n, align(-(-n // parts), machine.rows * machine.cols)))
                if other.count(m, n) < how.count(m, n):
                    assert need(other.tokens, other.channels) > room, (SEED, m, n, room, other)
        counts.add(how.count(m, n))
        with pytest.raises(PlanError, match="already take .* bytes, and the board's memory has 2,"):
            cut(machine, spec, 2048)
    assert max(counts) > 1, counts


@pytest.mark.parametrize("m,n,room", [(47, 27, 57344), (47, 78, 28672), (41, 65, 57344)])
def test_cut_minds_what_remains(m, n, room):
    """The last parts are smaller, and their programs may be longer."""
    qm = quantize(np.ones((8, 256), dtype=np.float32), "int4", 32)
    machine = SMALL.replace(k_tile=32)
    spec = replace(gemm_spec(machine, m, qm), n=n)
    how = cut(machine, spec, room)
    for rows in {how.tokens, m % how.tokens or how.tokens}:
        for width in {how.channels, n % how.channels or how.channels}:
            where = layout(plan_gemm(machine, replace(spec, m=rows, n=width)))
            assert where.size <= room and where.code


# ---- runs that are right ------------------------------------------------------------------
@pytest.mark.parametrize("layer", [QUERY, DOWN])
def test_sdram_board_equals_golden(ulx3s, image, layer):
    op = image.layer(layer)
    found = run(ulx3s, image, layer, MACHINE)
    golden = mpgemm(random_activations(op, SEED), matrix(image, op))
    assert found.mismatches == 0 and np.array_equal(found.accumulators, golden)
    assert found.parts == 1 and found.accumulators.shape == (TOKENS, op.n)
    # What the engines do is the same on any memory; how long they wait is not.
    for name in ("load_busy", "execute_busy", "store_busy"):
        assert found.counters[name] == found.model[name] > 0
    assert found.counters["total"] > found.counters["run"] > found.counters["execute_busy"]
    assert found.counters["run"] == pytest.approx(found.model["run"], rel=0.5)
    # The same again: nothing is left of the first run.
    again = run(ulx3s, image, layer, MACHINE)
    assert np.array_equal(again.accumulators, golden)


@pytest.mark.parametrize("how,weights", [
    (Cut(tokens=5, channels=10), "int4"), (Cut(tokens=3, channels=24), "bitmod3"),
    (Cut(tokens=2, channels=8), "int4_o8"), (Cut(tokens=4, channels=14), "bcq3")])
def test_parts_of_channels_and_tokens_equal_golden(ulx3s, tmp_path, monkeypatch, how, weights):
    monkeypatch.setattr(bitwright.fpga.host.run_layer, "cut", lambda *arguments: how)
    image = open_image(map_model(tmp_path, weights=weights))
    op = image.layer(DOWN)
    found = run(ulx3s, image, DOWN, MACHINE, room=1 << 14)
    assert found.mismatches == 0 and found.parts == how.count(op.m, op.n) > 1
    assert np.array_equal(found.accumulators,
                          mpgemm(random_activations(op, SEED), matrix(image, op)))
    assert found.counters["load_busy"] == found.model["load_busy"]


def test_weights_stay_for_the_next_tokens(ulx3s, image, monkeypatch):
    """Parts of the same channels and the same plan load them once."""
    monkeypatch.setattr(bitwright.fpga.host.run_layer,
                        "cut", lambda *arguments: Cut(tokens=2, channels=16))
    op = image.layer(QUERY)
    found = run(ulx3s, image, QUERY, MACHINE, room=1 << 14)
    assert found.parts == 6 and found.mismatches == 0
    parts = parts_for(image, op, MACHINE, 1 << 14, random_activations(op, SEED))
    every = sum(len(data) for part in parts for _, data in part.regions.values())
    again = [index for index in range(1, 6) if parts[index].packed is parts[index - 1].packed]
    assert again == [1, 4]      # tokens 0-1, 2-3, then one token alone
    spared = sum(len(parts[index].packed.weights + parts[index].packed.scales) for index in again)
    assert found.loaded_bytes == every - spared


def test_small_board_runs_what_exceeds_its_memory(icebreaker, wide, command):
    """From an image of another machine: repacked, in parts."""
    code, out, err = command("run", wide.folder, "--port", icebreaker.port, "--layer", DOWN,
                             "--board", "icebreaker", "--timeout", 5, "--json")
    assert code == 0, err
    found, op = json.loads(out), wide.layer(DOWN)
    golden = mpgemm(random_activations(op, 0), matrix(wide, op))
    assert (found["mismatches"], found["sha256"]) == (0, digest(golden)) and found["parts"] > 1
    assert found["loaded_bytes"] > 1 << 17 and found["read_bytes"] >= 4 * golden.size
    assert f"part 2 of {found['parts']}: reading" in err


def test_run_prints_everything(ulx3s, image, command, tmp_path):
    np.save(tmp_path / "a.npy", random_activations(image.layer(QUERY), 7))
    code, out, err = command("run", image.folder, "--port", ulx3s.port, "--layer", QUERY,
                             "--input", tmp_path / "a.npy", "--timeout", 5)
    assert code == 0, err
    assert f"machine tiny ({MACHINE.identity():#010x}), 80 MHz" in out
    assert "mismatches  0 in 120 accumulators" in out and "first" not in out
    assert "exact only for the memory that it models (latency 32, interval 1)" in out
    assert "wait_w_ready" in out and "bytes/s" in out and "loading" in err


def test_mismatch_is_status_1(ulx3s, image, command, monkeypatch, tmp_path):
    def wrong(a, qm):
        y = mpgemm(a, qm)
        y[2, 3] += 1
        return y

    monkeypatch.setattr(bitwright.fpga.host.run_layer, "mpgemm", wrong)
    code, out, _ = command("run", image.folder, "--port", ulx3s.port, "--layer", QUERY,
                           "--timeout", 5, "--out", tmp_path / "found.json")
    right = mpgemm(random_activations(image.layer(QUERY), 0), matrix(image, image.layer(QUERY)))
    assert code == 1 and "mismatches  1 in 120 accumulators" in out
    assert f"first       token 2, channel 3: {right[2, 3]}, golden {right[2, 3] + 1}" in out
    assert json.loads((tmp_path / "found.json").read_text())["mismatches"] == 1


# ---- what does not fit --------------------------------------------------------------------
def test_wrong_identity(ulx3s, image, command, tmp_path):
    other = map_model(tmp_path, machine=SMALL)
    hashes = f"{MACHINE.identity():#010x}", f"{SMALL.identity():#010x}"
    code, out, err = command("run", other, "--port", ulx3s.port, "--layer", QUERY, "--timeout", 5)
    assert code == 1 and not out and err.count("\n") == 1
    assert all(text in err for text in (*hashes, "load that machine's bitstream", "--machine"))
    code, out, err = command("run", image.folder, "--port", ulx3s.port, "--layer", QUERY,
                             "--machine", "icebreaker", "--timeout", 5,
                             "--out", tmp_path / "found.json")
    assert code == 1 and not out and err.count("\n") == 1 and all(text in err for text in hashes)
    assert not (tmp_path / "found.json").exists()


def test_presets_are_named():
    info = Info(clock_khz=80_000, memory_bytes=1 << 25,
                identity=PRESETS["ulx3s-85f"].identity())
    with pytest.raises(HostError, match="holds machine ulx3s-85f"):
        check_identity(info, MACHINE, "port", of_image=True)


def test_layer_that_no_part_of_fits(ulx3s, image):
    with pytest.raises(HostError, match=r"layer .*output.dense does not fit the board: one token "
                                        r"and 4 channels of 40 inputs already take 49,152 bytes, "
                                        r"and the board's memory has 8,192"):
        run(ulx3s, image, DOWN, MACHINE, room=8192)


# ---- what breaks --------------------------------------------------------------------------
def test_absent_port(image, command, tmp_path):
    code, out, err = command("run", image.folder, "--port", "/dev/none", "--layer", QUERY,
                             "--out", tmp_path / "found.json")
    assert (code, out, err) == (1, "", "error: there is no serial port /dev/none: check that the "
                                       "board is plugged in\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("answer", [b"", b"\x55\x7e\xff noise \x00"])
def test_silent_board(image, command, answer):
    port = SilentPort(answer)
    try:
        code, out, err = command("run", image.folder, "--port", port.path, "--layer", QUERY,
                                 "--timeout", 0.05)
    finally:
        port.close()
    assert code == 1 and not out and err.count("\n") == 1
    assert "no answer" in err and "bitstream is loaded" in err


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("writes", [5, 9, 20])
def test_cut_link_leaves_a_usable_board(ulx3s, image, writes, error):
    """In the middle of loading, and while the machine runs."""
    op, a = image.layer(DOWN), random_activations(image.layer(DOWN), SEED)
    port = CutPort(ulx3s.port, writes, error)
    board = Board(port, name=ulx3s.port, timeout=2, tries=2)
    info = board.info()
    with pytest.raises(LinkError, match="was cut" if error else "no answer") as raised:
        run_layer(BoardSession(link=board, info=info, port=ulx3s.port), image, op, MACHINE, a)
    assert "\n" not in str(raised.value)
    port.close()
    assert run(ulx3s, image, DOWN, MACHINE).mismatches == 0


def instead(monkeypatch, *nodes):
    """Run these instructions, not the layer's."""
    def parts(*arguments):
        (part,) = parts_for(*arguments)
        code = nodes[0] if isinstance(nodes[0], bytes) else program_bytes(nodes, MACHINE)
        return [replace(part, where=replace(part.where, code=code))]

    monkeypatch.setattr(bitwright.fpga.host.run_layer, "parts_for", parts)


STUCK = (Instr.make("load", target=Target.WEIGHTS, beats=4, wait=1), Instr.make("halt"))


@pytest.mark.parametrize("nodes,reason", [
    ((b"\xff" * INSTRUCTION_BYTES,), "unknown instruction"),
    ((Instr.make("load", target=Target.WEIGHTS, beats=4, dram=1 << 25), Instr.make("halt")),
     "memory read answered with an error")])
def test_machine_that_stops(ulx3s, image, monkeypatch, nodes, reason):
    with monkeypatch.context() as patch:
        instead(patch, *nodes)
        with pytest.raises(HostError, match=f"layer {QUERY}: the machine stopped: {reason}; it was "
                                            "reset$"):
            run(ulx3s, image, QUERY, MACHINE)
    said = []
    assert run(ulx3s, image, QUERY, MACHINE, watch=Notes(said)).mismatches == 0 and not said


def test_machine_that_does_not_end(ulx3s, image, monkeypatch):
    with monkeypatch.context() as patch:
        instead(patch, *STUCK)
        patch.setattr(bitwright.fpga.host.board_backend, "SLACK", 20_000)
        with pytest.raises(HostError, match="still busy after .* cycles.*; it was reset"):
            run(ulx3s, image, QUERY, MACHINE)
    said = []
    assert run(ulx3s, image, QUERY, MACHINE, watch=Notes(said)).mismatches == 0 and not said


def test_killed_while_it_runs(ulx3s, image):
    """The next host finds the machine busy, and resets it."""
    code = program_bytes(STUCK, MACHINE)
    with Board.open(ulx3s.port, BAUD, timeout=5) as board:
        board.write(0, code)
        board.write_register(Registers.PROGRAM, 0)
        board.write_register(Registers.LENGTH, len(STUCK))
        board.write_register(Registers.CONTROL, 1)
        assert board.read_register(Registers.STATUS) == Status.BUSY
    said = []
    assert run(ulx3s, image, DOWN, MACHINE, watch=Notes(said)).mismatches == 0
    assert said == ["the machine was not at rest and is reset"]
    assert run(ulx3s, image, DOWN, MACHINE, watch=Notes(said)).mismatches == 0 and len(said) == 1


def test_unplugged_in_the_middle(image, command, monkeypatch, tmp_path):
    simulated = SimulatedBoard(ULX3S, MACHINE)
    monkeypatch.setattr(BoardExecutor, "execute", lambda *arguments: simulated.kill() or {})
    code, out, err = command("run", image.folder, "--port", simulated.port, "--layer", DOWN,
                             "--timeout", 0.1, "--out", tmp_path / "found.json")
    assert code == 1 and not out and "error: " in err.splitlines()[-1]
    assert "was cut" in err or "no answer" in err
    assert not list(tmp_path.iterdir())
