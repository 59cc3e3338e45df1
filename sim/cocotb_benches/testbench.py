"""Sets up what every bench needs: the core with memory and host, and random GEMMs."""

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam
from cocotbext.axi.stream import StreamPause
from numpy.typing import NDArray

from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.standalone_layout import Layout, layout
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.machine.control_interface import COUNTER_NAMES, Control, Registers, Status
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import (
    gemm_spec,
    pack_activations,
    pack_weights,
    unpack_outputs,
)
from bitwright.models.inference.golden import mpgemm
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.sim.cocotb_benches.bus_watcher import BusWatcher
from bitwright.sim.cocotb_benches.runner import bench_machine
from bitwright.sim.verification.random_operands import (
    has_offsets,
    random_activations,
    random_matrix,
    supported,
)

__all__ = ["Bench", "Gemm", "random_gemm"]

MEMORY_BYTES = 1 << 18
PERIOD = 10  # ns


@dataclass(frozen=True, kw_only=True)
class Gemm:
    """A GEMM placed in memory and what it must give."""
    where: Layout
    weights: bytes
    scales: bytes
    correction: NDArray[np.int64]
    acts: NDArray[np.int64]
    expected: NDArray[np.int64]
    text: str

    @classmethod
    def of(cls, machine: Machine, qm: QuantizedMatrix, acts: NDArray[np.int64]) -> "Gemm":
        plan = plan_gemm(machine, gemm_spec(machine, len(acts), qm))
        packed = pack_weights(plan, qm)
        text = (f"{len(acts)}x{qm.k_logical}x{qm.n} {qm.datatype.name} group {qm.group_size}"
                f"{' asymmetric' if qm.asymmetric else ''}{' row mode' if plan.row_mode else ''}"
                f"{'' if plan.resident else ' streamed'} blocks {plan.blocks} chunks {plan.chunks}")
        return cls(where=layout(plan), weights=packed.weights, scales=packed.scales,
                   correction=packed.correction, acts=acts, expected=mpgemm(acts, qm), text=text)


def random_gemm(machine: Machine, rng: np.random.Generator, *, name: str | None = None,
                m: int | None = None, asymmetric: bool | None = None, most: int = 40) -> Gemm:
    """A small GEMM: ragged sizes, ones often, any datatype and group size."""
    name = name or str(rng.choice(supported(machine)))
    sizes = [1 if rng.random() < 0.15 else int(rng.integers(1, limit + 1))
             for limit in (3 * machine.rows, 2 * most, most)]
    m, (_, k, n) = m or sizes[0], sizes
    group_size = int(rng.choice([k, int(rng.integers(1, k + 1)), min(k, machine.k_tile)]))
    if -(-k // group_size) > 8:
        group_size = -(-k // 8)
    if asymmetric is None:
        asymmetric = bool(rng.random() < 0.4)
    matrix = random_matrix(machine, name, n, k, group_size, rng,
                           asymmetric=asymmetric and has_offsets(name))
    return Gemm.of(machine, matrix, random_activations(machine, m, k, rng))


def pauses(rng: np.random.Generator) -> Iterator[bool]:
    """Endless pauses: none, some, many, or in long runs."""
    kind = rng.integers(0, 4)
    if kind == 0:
        return iter(lambda: False, None)
    if kind == 3:
        return (bool(on) for _ in iter(int, 1) for on in
                [rng.random() < 0.5] * int(rng.integers(1, 40)))
    share = (0.0, 0.15, 0.6)[kind]
    return iter(lambda: bool(rng.random() < share), None)


class Bench:
    """The core under test: ``ram`` on ``m_axi``, ``host`` on ``s_axil``, ``watch`` on both.

    Every test makes its own; ``rng`` depends on the seed and on the test's name alone.
    """

    def __init__(self, dut, name: str):
        self.dut = dut
        self.machine = bench_machine()
        seed = int(cocotb.RANDOM_SEED)
        self.rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.log = logging.getLogger("cocotb.bench")
        for noisy in (f"cocotb.{dut._name}.m_axi", f"cocotb.{dut._name}.s_axil"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        cocotb.start_soon(Clock(dut.clk, PERIOD, "ns").start())
        self.ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=MEMORY_BYTES)
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.watch = BusWatcher(dut, self.machine, MEMORY_BYTES)
        self._read, self._write = self.ram.read_if._read, self.ram.write_if._write

    async def reset_pin(self) -> None:
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    # ---- memory and host ----------------------------------------------------------------
    def _channels(self) -> tuple[StreamPause, ...]:
        ram, host = self.ram, self.host
        return (ram.read_if.ar_channel, ram.read_if.r_channel, ram.write_if.aw_channel,
                ram.write_if.w_channel, ram.write_if.b_channel, host.write_if.aw_channel,
                host.write_if.w_channel, host.write_if.b_channel, host.read_if.ar_channel,
                host.read_if.r_channel)

    def stall(self) -> None:
        """New random pauses on every channel of both buses."""
        for channel in self._channels():
            channel.set_pause_generator(pauses(self.rng))

    def flow(self) -> None:
        """No pauses any more."""
        for channel in self._channels():
            channel.clear_pause_generator()
            channel.pause = False

    def fault(self, address: int | None, write: bool = False) -> None:
        """Answer the access that covers byte ``address`` with SLVERR; None: answer all."""
        async def read(at, length):
            if not write and address is not None and at <= address < at + length:
                raise OSError("injected")
            return await self._read(at, length)

        async def written(at, data):
            if write and address is not None and at <= address < at + len(data):
                raise OSError("injected")
            await self._write(at, data)

        self.ram.read_if._read, self.ram.write_if._write = read, written

    async def get(self, address: int) -> int:
        answer = await self.host.read(address, 4)
        return int.from_bytes(answer.data, "little")

    async def put(self, address: int, value: int) -> None:
        await self.host.write(address, value.to_bytes(4, "little"))

    async def counters(self) -> dict[str, int]:
        return {name: await self.get(Registers.COUNTERS + 4 * i)
                for i, name in enumerate(COUNTER_NAMES)}

    # ---- programs -----------------------------------------------------------------------
    def place(self, gemm: Gemm) -> None:
        """Write the memory image; outputs start as a pattern that no result shows."""
        self.log.info(gemm.text)
        regions = gemm.where.regions
        assert gemm.where.size <= MEMORY_BYTES
        for address, data in (
                (0, gemm.where.code), (regions.weights, gemm.weights),
                (regions.scales, gemm.scales),
                (regions.acts, pack_activations(gemm.where.plan, gemm.acts)),
                (regions.outputs, b"\xa5" * (gemm.where.plan.out_bytes + 64))):
            self.ram.write(address, data)

    async def start(self, instructions: int, address: int = 0) -> None:
        await self.put(Registers.PROGRAM, address)
        await self.put(Registers.LENGTH, instructions)
        await self.put(Registers.CONTROL, Control.START)

    async def finish(self, limit: int = 120_000) -> int:
        """STATUS once it is no longer busy. Fails after ``limit`` cycles."""
        begin = self.watch.cycles
        while (status := await self.get(Registers.STATUS)) & Status.BUSY:
            assert self.watch.cycles - begin < limit, f"busy after {limit} cycles"
        self.watch.check()
        return status

    async def run(self, gemm: Gemm) -> None:
        """Place, run and compare, bit for bit."""
        self.place(gemm)
        await self.start(len(gemm.where.code) // INSTRUCTION_BYTES)
        status = await self.finish()
        assert status == Status.DONE, f"{gemm.text}: status {status:#x}"
        self.compare(gemm)

    def compare(self, gemm: Gemm) -> None:
        plan, base = gemm.where.plan, gemm.where.regions.outputs
        found = unpack_outputs(plan, self.ram.read(base, plan.out_bytes), gemm.correction)
        wrong = np.argwhere(found != gemm.expected)
        assert not len(wrong), (
            f"{gemm.text}: {len(wrong)} of {found.size} differ, first at {wrong[0].tolist()}: "
            f"{found[tuple(wrong[0])]}, not {gemm.expected[tuple(wrong[0])]}")
        after = self.ram.read(base + plan.out_bytes, 64)
        assert after == b"\xa5" * 64, f"{gemm.text}: written past the outputs"
        assert not self.watch.reads and not self.watch.writes, "bursts are open after the end"

    async def reset(self) -> None:
        """Reset by CONTROL, and wait until STATUS is clear."""
        await self.put(Registers.CONTROL, Control.RESET)
        for _ in range(2000):
            if await self.get(Registers.STATUS) == 0:
                return
        raise AssertionError("STATUS is not clear after a reset")

    async def stopped(self, code: int) -> None:
        """The machine has stopped with error ``code``: nothing is in flight, nothing follows."""
        status = await self.finish()
        assert status & Status.ERROR and status >> 8 & 15 == code, f"status {status:#x}"
        assert not self.watch.reads and not self.watch.writes, "bursts are open after the error"
        bursts = self.watch.bursts
        await ClockCycles(self.dut.clk, 200)
        assert self.watch.bursts == bursts, "a burst was issued after the error"
        await self.put(Registers.CONTROL, Control.START)
        await ClockCycles(self.dut.clk, 50)
        assert await self.get(Registers.STATUS) == status, "a start needs a reset first"
        assert self.watch.bursts == bursts, "a start needs a reset first"
        self.watch.check()
