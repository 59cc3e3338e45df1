"""Errors and resets of the whole core at full speed."""

import numpy as np
import pytest

from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.standalone_layout import layout
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.isa.program_tree import Instr
from bitwright.hw.machine.control_interface import Status
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import gemm_spec, pack_activations, pack_weights
from bitwright.models.quantization.rtn import quantize_weights
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.verilator.gemm_run import run_gemm
from bitwright.sim.verilator.simulator import run
from bitwright.sim.verilator.verilator_build import SimulationError

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def gemm():
    """Layout, packed weights, activations and memory image of a small GEMM."""
    rng = np.random.default_rng(3)
    qm = quantize_weights(rng.normal(size=(21, 70)), "int4", 32)
    acts = rng.integers(-128, 128, (5, 70))
    where = layout(plan_gemm(TINY, gemm_spec(TINY, 5, qm)))
    packed = pack_weights(where.plan, qm)
    image = np.zeros(where.size, dtype=np.uint8)
    for address, data in ((0, where.code), (where.regions.weights, packed.weights),
                          (where.regions.scales, packed.scales),
                          (where.regions.acts, pack_activations(where.plan, acts))):
        image[address:address + len(data)] = np.frombuffer(data, dtype=np.uint8)
    return where, packed, acts, image


def start(gemm, image=None, length=None, **options):
    where, _, _, clean = gemm
    length = len(where.code) // INSTRUCTION_BYTES if length is None else length
    return run(TINY, clean if image is None else image, [(0, length)], dump=(0, 4),
               max_cycles=200_000, **options)


@pytest.mark.parametrize("memory", [Memory(), Memory(latency=8), Memory(latency=200, interval=3)],
                         ids=["usual", "near", "far"])
@pytest.mark.parametrize("region, code", [("program", 2), ("weights", 2), ("scales", 2),
                                          ("acts", 2), ("outputs", 3)])
def test_a_bus_error_stops_the_machine(gemm, region, code, memory):
    where = gemm[0]
    sizes = {"program": len(where.code), "weights": where.plan.weight_bytes,
             "scales": where.plan.scale_bytes, "acts": where.plan.act_bytes,
             "outputs": where.plan.out_bytes}
    base = 0 if region == "program" else getattr(where.regions, region)
    last = sizes[region] // TINY.beat_bytes - 1
    for beat in (0, last // 3, last):
        result = start(gemm, fault=base + beat * TINY.beat_bytes, memory=memory)
        assert result.status & Status.ERROR and result.status >> 8 == code
        assert not result.status & Status.BUSY
        assert result.error == Status.codes[code]


@pytest.mark.parametrize("instruction", [
    bytes([8]).ljust(INSTRUCTION_BYTES, b"\0"), b"\xff" * INSTRUCTION_BYTES,
    Instr.make("load", target=3, beats=1).encode()], ids=["opcode 8", "all ones", "target 3"])
def test_an_unknown_instruction_stops_the_machine(gemm, instruction):
    count = len(gemm[0].code) // INSTRUCTION_BYTES
    for at in (0, count // 2, count - 1):
        image = gemm[3].copy()
        image[at * INSTRUCTION_BYTES:(at + 1) * INSTRUCTION_BYTES] = np.frombuffer(
            instruction, dtype=np.uint8)
        result = start(gemm, image)
        assert result.error == Status.codes[1] and result.status >> 8 == 1


@pytest.mark.parametrize("length", [0, TINY.program_depth + 1, 1 << 20, (1 << 32) - 1])
def test_a_program_length_that_does_not_fit(gemm, length):
    result = start(gemm, length=length)
    assert result.error == Status.codes[4]
    assert result.counters["total"] == 0


def test_memory_beyond_its_end_is_a_bus_error(gemm):
    result = start(gemm, gemm[3][:gemm[0].regions.outputs], memory=Memory())
    assert result.error == Status.codes[3]


def test_no_error_no_status(gemm):
    where, packed, acts, _ = gemm
    _, result = run_gemm(where, packed, acts)
    assert result.error is None and result.status == Status.DONE


def test_a_program_without_end_is_given_up(gemm):
    image = gemm[3].copy()
    forever = Instr.make("loop", count=65535).encode() * 2 + Instr.make("end").encode() * 2
    image[:len(forever)] = np.frombuffer(forever, dtype=np.uint8)
    with pytest.raises(SimulationError, match="still busy after 3000 cycles"):
        run(TINY, image, [(0, 4)], dump=(0, 4), max_cycles=3000)
