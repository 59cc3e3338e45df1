"""Frames, the UART and the arbiter by themselves."""

import random

import pytest
from amaranth import *
from amaranth.hdl import Value

from bitwright.fpga.link.arbiter import MemoryArbiter
from bitwright.fpga.link.endpoint import LinkConfig
from bitwright.fpga.link.frames import Command, Deframer, Info, Reply, Request, crc16, frame
from bitwright.fpga.link.uart import Receiver, Transmitter, bit_rate
from bitwright.hw.rtl.primitives.axi_ports import AXI4_PORTS
from tests.hw.streams import simulate

SEED = 5


def test_crc():
    assert crc16(b"123456789") == 0x29B1      # CRC-16/IBM-3740's check value
    body = bytes(range(40))
    assert crc16(body + crc16(body).to_bytes(2, "big")) == 0


def test_the_bytes_of_a_frame():
    request = Request(sequence=0x7E, command=Command.WRITE, address=0x12345678, words=2,
                      payload=b"\x7d\x00\x5e\x7e")
    body = bytes.fromhex("7e017856341201 7d005e7e")
    check = crc16(body).to_bytes(2, "big")
    assert not {0x7D, 0x7E} & set(check)
    assert request.pack() == bytes.fromhex("7e 7d5e017856341201 7d5d005e7d5e") + check + b"\x7e"


def test_any_body_in_any_pieces():
    rng = random.Random(SEED)
    bodies = [bytes(rng.choice([0x7D, 0x7E, 0x5D, 0x5E, 0x20, 0]) for _ in range(rng.randrange(
        1, 30))) for _ in range(300)]
    wire = b"".join(map(frame, bodies))
    deframer, found = Deframer(), []
    while wire:
        size = rng.randrange(1, 50)
        found += deframer.feed(wire[:size])
        wire = wire[size:]
    assert found == bodies and deframer.dropped == 0


def test_a_damaged_byte_costs_its_frame_only():
    bodies = [bytes([number]) * 5 for number in range(3)]
    wire = b"".join(map(frame, bodies))
    size = len(wire) // 3
    for at in range(size + 1, 2 * size - 1):
        for change in range(1, 256):
            damaged = wire[:at] + bytes([wire[at] ^ change]) + wire[at + 1:]
            assert Deframer().feed(damaged) == [bodies[0], bodies[2]]
    # A lost border is made up for by the border of the neighbour.
    assert Deframer().feed(wire[:size] + wire[size + 1:]) == bodies


def test_replies_and_info():
    info = Info(clock_khz=12_000, memory_bytes=1 << 17, identity=0xFFFFFFFF)
    assert Info.unpack(info.pack()) == info and len(info.pack()) == 16
    reply = Reply(sequence=3, command=4, status=0, payload=info.pack())
    assert [Reply.unpack(body) for body in Deframer().feed(reply.pack())] == [reply]
    assert Reply.unpack(b"ab") is None


def test_bit_rates():
    for divisor in (4, 8, 80 / 3, 25 / 3, 24e6 / 115200, 80e6 / 9600, 5.55):
        bits, step = bit_rate(divisor)
        assert abs((1 << bits) / step / divisor - 1) <= 0.003
    assert bit_rate(8) == (3, 1)
    with pytest.raises(ValueError, match="at least 4"):
        bit_rate(3.9)


@pytest.mark.parametrize("sent, received", [(4, 4), (8, 8), (25 / 3, 25 / 3), (80 / 3, 80 / 3),
                                            (80 / 3, 80 / 3 * 1.02), (80 / 3, 80 / 3 * 0.98),
                                            (8, 8.2), (8, 7.8)])
def test_transmitter_to_receiver(sent, received):
    m = Module()
    m.submodules.transmitter = transmitter = Transmitter(sent)
    m.submodules.receiver = receiver = Receiver(received)
    m.d.comb += receiver.pin.eq(transmitter.pin)
    rng = random.Random(SEED)
    data = [0, 255, 0x55, 0xAA, *rng.randbytes(40)]
    cycles = []

    async def feed(ctx):
        for number, byte in enumerate(data):
            if number > 20:
                await ctx.tick().repeat(rng.randrange(1, 30))
            ctx.set(transmitter.data, byte)
            ctx.set(transmitter.valid, 1)
            while not (await ctx.tick().sample(transmitter.ready))[-1]:
                pass
            ctx.set(transmitter.valid, 0)

    async def take(ctx):
        found, cycle = [], 0
        while len(found) < len(data):
            *_, valid, error, byte = await ctx.tick().sample(
                receiver.valid, receiver.error, receiver.data)
            cycle += 1
            assert not error
            if valid:
                found.append(byte)
                cycles.append(cycle)
        assert found == data

    simulate(m, feed, take)
    # Twenty bytes in a row take ten bits each, without gaps.
    assert abs(cycles[20] - cycles[0] - 200 * sent) <= 0.003 * 200 * sent + 2


def test_bytes_without_a_stop_bit_and_breaks():
    receiver = Receiver(8)
    seen = []

    async def watch(ctx):
        async for *_, valid, error, byte in ctx.tick().sample(
                receiver.valid, receiver.error, receiver.data):
            if valid or error:
                seen.append(byte if valid else None)

    async def line(ctx):
        async def bits(*levels):
            for level in levels:
                ctx.set(receiver.pin, level)
                for _ in range(8):
                    await ctx.tick()

        def byte(value, stop=1):
            return (0, *(value >> bit & 1 for bit in range(8)), stop)
        await bits(1, *byte(0x31), *byte(0x32, stop=0), 1, *byte(0x33))
        await bits(*[0] * 47, 1, *byte(0x34))
        for _ in range(3):                      # a glitch of three cycles is no start bit
            ctx.set(receiver.pin, 0)
            await ctx.tick()
        await bits(1, 1, *byte(0x35), 1)

    simulate(receiver, line, background=[watch])
    assert seen == [0x31, None, 0x33, None, 0x34, 0x35]


def test_core_alone_sees_the_memory_itself():
    """While the link is idle, every signal passes in the same cycle."""
    arbiter = MemoryArbiter(memory_bits=16, outstanding=15)
    rng = random.Random(SEED)
    ports = AXI4_PORTS(16)

    async def bench(ctx):
        reads = writes = data = 0
        for _ in range(500):
            values = {}
            for name, port in ports.items():
                side = "core" if port.flow.name == "Out" else "m_axi"
                width = len(Value.cast(getattr(arbiter, f"core_{name}")))
                values[name] = rng.randrange(1 << width)
                ctx.set(getattr(arbiter, f"{side}_{name}"), values[name])
            for name, port in ports.items():
                side = "m_axi" if port.flow.name == "Out" else "core"
                assert ctx.get(getattr(arbiter, f"{side}_{name}")) == values[name], name
            await ctx.tick()
            reads += values["arvalid"] and values["arready"]
            writes += values["awvalid"] and values["awready"]
            data += values["wvalid"] and values["wready"]
        assert reads > 50 and writes > 50 and data > 50

    simulate(arbiter, bench)


def test_an_offered_address_stays():
    """The link does not take the place of an address that the core offers already."""
    arbiter = MemoryArbiter(memory_bits=16, outstanding=15)

    async def bench(ctx):
        ctx.set(arbiter.core_araddr, 0x100)
        ctx.set(arbiter.link_araddr, 0x200)
        ctx.set(arbiter.core_arvalid, 1)
        await ctx.tick()
        ctx.set(arbiter.link_arvalid, 1)
        await ctx.tick()
        assert ctx.get(arbiter.m_axi_araddr) == 0x100 and not ctx.get(arbiter.link_arready)
        ctx.set(arbiter.m_axi_arready, 1)
        assert ctx.get(arbiter.core_arready)
        await ctx.tick()
        assert ctx.get(arbiter.m_axi_araddr) == 0x200 and ctx.get(arbiter.link_arready)
        assert not ctx.get(arbiter.core_arready)

    simulate(arbiter, bench)


def test_what_the_endpoint_refuses():
    good = {"divisor": 8, "memory_bytes": 1 << 17, "clock_khz": 24_000, "identity": 0}
    for change, reason in (({"memory_bits": 32}, "memory port of 16 bits"),
                           ({"memory_bytes": 100_000}, "power of two"),
                           ({"divisor": 2}, "4 times the baud rate")):
        with pytest.raises(ValueError, match=reason):
            LinkConfig(**{**good, **change})
