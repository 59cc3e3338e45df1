"""The pins of an SDRAM chip."""

from amaranth.lib import io

__all__ = ["connect_sdram"]

PINS = ("clk", "clk_en", "cs", "we", "ras", "cas", "ba", "a", "dq", "dqm")


def connect_sdram(m, platform, memory):
    """Connect a controller to the platform's pins ``sdram``, all registered in their I/O cells. The
    chip's clock is that of domain ``chip``, by way of a DDR cell."""
    pins = platform.request("sdram", dir=dict.fromkeys(PINS, "-"))
    m.submodules.chip_clock = clock = io.DDRBuffer("o", pins.clk, o_domain="chip")
    m.d.comb += [clock.o[0].eq(1), clock.o[1].eq(0)]
    for name, value in (("clk_en", memory.cke), ("cs", ~memory.cs_n), ("we", ~memory.we_n),
                        ("ras", ~memory.ras_n), ("cas", ~memory.cas_n), ("ba", memory.ba),
                        ("a", memory.a), ("dqm", memory.dqm)):
        m.submodules[name] = buffer = io.FFBuffer("o", getattr(pins, name))
        m.d.comb += buffer.o.eq(value)
    m.submodules.dq = data = io.FFBuffer("io", pins.dq)
    m.d.comb += [data.o.eq(memory.dq_o), data.oe.eq(memory.dq_oe), memory.dq_i.eq(data.i)]
