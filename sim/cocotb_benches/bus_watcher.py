"""Watches the core's two buses in every cycle of every test."""

from collections import deque

import cocotb
from cocotb.triggers import RisingEdge

from bitwright.hw.machine.description import Machine

__all__ = ["BusWatcher"]

PAYLOAD = {  # channels the core drives: what must stay while it waits
    "m_axi_ar": ("addr", "len", "size", "burst", "id", "prot"),
    "m_axi_aw": ("addr", "len", "size", "burst", "id", "prot"),
    "m_axi_w": ("data", "strb", "last"),
    "s_axil_b": ("resp",),
    "s_axil_r": ("data", "resp"),
}
PAGE = 4096  # no AXI burst crosses a multiple of this


class BusWatcher:
    """Checks, on every clock edge, that what the core offers stays until it is taken, that bursts
    are whole beats within 4 KiB and the memory, that WLAST ends them, and that no more than
    ``machine.outstanding`` are open. :meth:`check` raises the first finding.

    Members
    -------
    reads, writes : bursts open: accepted and not yet answered
    bursts : bursts accepted since the start
    cycles : clock edges seen
    read_beats, write_beats : beats moved since the start
    stalls : per channel, cycles in which the core waited
    """

    def __init__(self, dut, machine: Machine, size: int):
        self._machine, self._size = machine, size
        self._signals = {channel: (
            getattr(dut, channel + "valid"), getattr(dut, channel + "ready"),
            [getattr(dut, channel + name) for name in names]) for channel, names in PAYLOAD.items()}
        self._reset, self._clock = dut.rst, dut.clk
        self._answers = [(getattr(dut, name + "valid"), getattr(dut, name + "ready"))
                         for name in ("m_axi_r", "m_axi_b")]
        self._read_last = dut.m_axi_rlast
        self._held: dict[str, list[int] | None] = dict.fromkeys(PAYLOAD)
        self._lengths: deque[int] = deque()   # beats of write bursts whose data are to come
        self._sent = 0
        self._first: str | None = None
        self.reads = self.writes = self.bursts = self.cycles = 0
        self.read_beats = self.write_beats = 0
        self.stalls = dict.fromkeys(PAYLOAD, 0)
        cocotb.start_soon(self._run())

    def check(self) -> None:
        assert self._first is None, self._first

    def _find(self, text: str) -> None:
        if self._first is None:
            self._first = f"cycle {self.cycles}: {text}"

    async def _run(self) -> None:
        edge = RisingEdge(self._clock)
        while True:
            await edge
            self.cycles += 1
            if self._reset.value == 1:
                self._held = dict.fromkeys(PAYLOAD)
                self.reads = self.writes = self._sent = 0
                self._lengths.clear()
                continue
            for channel, (valid, ready, payload) in self._signals.items():
                held = self._held[channel]
                if valid.value != 1:
                    if held is not None:
                        self._find(f"{channel}valid withdrawn")
                        self._held[channel] = None
                    continue
                now = [int(signal.value) for signal in payload]
                if held is not None and held != now:
                    self._find(f"{channel} changed from {held} to {now} while it waited")
                taken = ready.value == 1
                self._held[channel] = None if taken else now
                self.stalls[channel] += not taken
                if taken:
                    self._taken(channel, now)
            self._answered()

    def _taken(self, channel: str, payload: list[int]) -> None:
        if channel in ("m_axi_ar", "m_axi_aw"):
            self.bursts += 1
            self._burst(channel, *payload)
        elif channel == "m_axi_w":
            self._beat(strobe=payload[1], last=payload[2])

    def _burst(self, channel: str, address: int, length: int, size: int, burst: int, _id: int,
               _prot: int) -> None:
        beat, end = self._machine.beat_bytes, address + (length + 1) * self._machine.beat_bytes
        if 1 << size != beat or burst != 1:
            self._find(f"{channel}: size {size}, burst {burst}; beats are {beat} bytes, INCR")
        if address % beat or address // PAGE != (end - 1) // PAGE:
            self._find(f"{channel}: {length + 1} beats at {address:#x} cross a page or are askew")
        if end > self._size:
            self._find(f"{channel}: {length + 1} beats at {address:#x} leave the memory")
        if channel == "m_axi_aw":
            self._lengths.append(length + 1)
            self.writes += 1
        else:
            self.reads += 1
        if max(self.reads, self.writes) > self._machine.outstanding:
            self._find(f"{self.reads} reads and {self.writes} writes are open, of "
                       f"{self._machine.outstanding}")

    def _beat(self, strobe: int, last: int) -> None:
        self._sent += 1
        self.write_beats += 1
        if not self._lengths:
            self._find("data before their address")
        elif last != (self._sent == self._lengths[0]):
            self._find(f"wlast is {last} at beat {self._sent} of {self._lengths[0]}")
        if strobe != (1 << self._machine.beat_bytes) - 1:
            self._find(f"wstrb is {strobe:#x}")
        if last:
            self._sent = 0
            if self._lengths:
                self._lengths.popleft()

    def _answered(self) -> None:
        (read_valid, read_ready), (write_valid, write_ready) = self._answers
        if read_valid.value == 1:
            if read_ready.value != 1:
                self._find("rready is low; the core takes every beat at once")
            self.read_beats += 1
            self.reads -= self._read_last.value == 1
        if write_valid.value == 1:
            if write_ready.value != 1:
                self._find("bready is low; the core takes every answer at once")
            self.writes -= 1
