"""A simulated board end of the link behind a pseudo-terminal, and a port that loses bytes."""

import hashlib
import importlib.metadata
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from amaranth import *
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.fpga.link.arbiter import MemoryArbiter
from bitwright.fpga.link.endpoint import LinkConfig, LinkEndpoint
from bitwright.hw.rtl.primitives.axi_ports import AXI4_LITE_PORTS, AXI4_PORTS
from bitwright.models.assets.cache import cache_dir
from bitwright.sim.verilator.verilator_build import verilator_environment

DIVISOR = 4
MEMORY = 1 << 16
FAULT = 0x7F06     # a word that the memory answers with an error
CLOCK_KHZ, IDENTITY = 80_000, 0xD47E7D12
ROOT = Path(__file__).resolve().parents[3]
HARNESS = Path(__file__).with_name("link_harness.cpp")
PTY = ROOT / "fpga/verification/board_models/uart_pty.h"


class LinkBench(wiring.Component):
    """Endpoint and arbiter; ``core_*`` from a core, ``m_axi_*`` memory, ``m_axil_*`` registers."""

    def __init__(self):
        super().__init__({
            "rx": In(1), "tx": Out(1),
            **{"core_" + name: port.flip() for name, port in AXI4_PORTS(16).items()},
            **{"m_axi_" + name: port for name, port in AXI4_PORTS(16).items()},
            **{"m_axil_" + name: port.flip() for name, port in AXI4_LITE_PORTS.items()},
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.endpoint = endpoint = LinkEndpoint(LinkConfig(
            divisor=DIVISOR, memory_bytes=MEMORY, clock_khz=CLOCK_KHZ, identity=IDENTITY))
        m.submodules.arbiter = arbiter = MemoryArbiter(memory_bits=16, outstanding=4)

        def join(outer, inner, flow):
            m.d.comb += outer.eq(inner) if flow is Out else inner.eq(outer)

        m.d.comb += [endpoint.rx.eq(self.rx), self.tx.eq(endpoint.tx)]
        for name, port in AXI4_PORTS(16).items():
            join(getattr(arbiter, "link_" + name), getattr(endpoint, "m_axi_" + name),
                 port.flow)
            join(getattr(arbiter, "core_" + name), getattr(self, "core_" + name), port.flow)
            join(getattr(self, "m_axi_" + name), getattr(arbiter, "m_axi_" + name), port.flow)
        for name, port in AXI4_LITE_PORTS.items():
            join(getattr(self, "m_axil_" + name), getattr(endpoint, "m_axil_" + name),
                 port.flow.flip())
        return m


@cache
def build() -> Path:
    """The simulator: compiled on first use, then from the cache."""
    source = verilog.convert(LinkBench(), name="link_bench", emit_src=False)
    key = hashlib.sha256()
    for part in (source, HARNESS.read_text(), PTY.read_text(),
                 importlib.metadata.version("verilator")):
        key.update(part.encode() + b"\0")
    program = cache_dir() / "sim" / f"link-{key.hexdigest()[:32]}"
    if program.is_file():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent, prefix="build-") as scratch:
        (Path(scratch) / "link_bench.v").write_text(source)
        command = ["verilator_bin", "--cc", "--exe", "--build", "-O3", "-Wno-fatal", "-Wno-lint",
                   "--no-assert", "--top-module", "link_bench", "-Mdir", "obj", "-o", "harness",
                   "-CFLAGS", f"-O2 -I{PTY.parent}", "link_bench.v", str(HARNESS)]
        done = subprocess.run(command, cwd=scratch, env=verilator_environment(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout[-2000:]
        shutil.copy2(Path(scratch) / "obj/harness", Path(scratch) / "harness")
        (Path(scratch) / "harness").rename(program)
    return program


class SimulatedBoard:
    """A running simulation. ``path`` is its port; :meth:`stop` gives its report and memory."""

    def __init__(self, folder: Path, *, seed: int = 1, traffic: bool = False):
        self._dump = folder / "memory"
        self._process = subprocess.Popen(
            [str(build()), *map(str, (DIVISOR, MEMORY, FAULT, seed, int(traffic), self._dump))],
            stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.path = self._process.stdout.readline().strip()

    def send_break(self) -> None:
        os.kill(self._process.pid, signal.SIGUSR1)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def stop(self) -> tuple[dict, bytes]:
        self._process.terminate()
        out, _ = self._process.communicate(timeout=20)
        assert self._process.returncode == 0
        return json.loads(out.splitlines()[-1]), self._dump.read_bytes()


Fault = Callable[[bytes], bytes]

def fault(kind: str, at: int) -> Fault:
    """Damage of one byte, or all from it on; places count modulo what there is."""
    def damage(data: bytes) -> bytes:
        place = at % len(data)
        before, byte, after = data[:place], data[place:place + 1], data[place + 1:]
        return {"lost": before + after, "doubled": before + byte * 2 + after,
                "inserted": before + b"\x55" + byte + after,
                "corrupted": before + bytes([byte[0] ^ 0x10]) + after,
                "cut": before, "all lost": b""}[kind]
    return damage


KINDS = ("lost", "doubled", "inserted", "corrupted", "cut")


class FaultyPort:
    """A port that damages what passes: each entry of ``requests`` and ``replies`` is applied once,
    to one written frame and to one read of bytes; with ``rate``, random damage at that share of
    frames and reads."""

    def __init__(self, port, *, requests=(), replies=(), rate=0.0, seed=0):
        self._port, self._rate, self._random = port, rate, random.Random(seed)
        self._requests, self._replies = list(requests), list(replies)
        self.injected = 0

    def _damage(self, data: bytes, planned: list) -> bytes:
        if not data:
            return data
        if planned:
            self.injected += 1
            return planned.pop(0)(data)
        if self._random.random() < self._rate:
            self.injected += 1
            return fault(self._random.choice(KINDS), self._random.randrange(len(data)))(data)
        return data

    def write(self, data: bytes) -> int:
        self._port.write(self._damage(data, self._requests))
        return len(data)

    def read(self, size: int = 1) -> bytes:
        # The driver reads one byte, then what is there: damage the second.
        data = self._port.read(size)
        return data if size == 1 else self._damage(data, self._replies)

    @property
    def timeout(self):
        return self._port.timeout

    @timeout.setter
    def timeout(self, value):
        self._port.timeout = value

    @property
    def in_waiting(self) -> int:
        return self._port.in_waiting

    def reset_input_buffer(self) -> None:
        self._port.reset_input_buffer()

    def close(self) -> None:
        self._port.close()
