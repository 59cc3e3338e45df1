"""Controller of a single-data-rate SDRAM behind an AXI4 port."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bitwright.fpga.soc.burst_queue import ADDRESS, DECERR, SUBORDINATE, BurstQueue
from bitwright.fpga.soc.sdram_timing import COMMON

__all__ = ["SIZE_BYTES", "SdramController"]

SIZE_BYTES = 1 << 25
INITIAL_REFRESHES = 8

# An address from its lowest bit: byte, column, bank, row. Pages that follow each other thus lie in
# different banks, and a burst stays in one row, whichever banks it crosses.
PLACE = data.StructLayout({"column": 9, "bank": 2, "row": 13})
SLOT = data.StructLayout({
    "place": PLACE, "left": 8, "last": 1, "write": 1, "error": 1,
    "valid": 1,     # holds a burst
    "ready": 1,     # its row is open
})
TAG = data.StructLayout({"valid": 1, "last": 1, "error": 1})
ALL_BANKS = 1 << 10

# ras_n, cas_n, we_n, from the lowest bit
NOP, ACTIVATE, READ, WRITE = 0b111, 0b110, 0b101, 0b001
PRECHARGE, REFRESH, MODE = 0b010, 0b100, 0b000


class SdramController(wiring.Component):
    """AXI4 subordinate with 16-bit data to 32 MiB of SDRAM (4 banks x 8192 rows x 512 columns).

    Bursts of full-width beats, INCR, within 4 KiB; ``rready`` and ``bready`` must always be 1.
    One beat per cycle while a row is open. Each bank keeps its row open until another is needed
    or the chip is refreshed, once every 7.8125 us. Bursts are served in turn; while one moves, the
    row of the next is opened if it lies in another bank. Beats beyond 32 MiB are answered with
    DECERR. A write is answered once its last beat is on its way.

    Latency of a read in an open row: ``7 + read_delay`` cycles from ``arvalid`` to ``rvalid``.

    Parameters
    ----------
    clock_mhz : of the domain ``sync``, which is also the chip's clock, in any phase
    timing : the chip's rules, a :class:`~bitwright.fpga.soc.sdram_timing.SdramTiming`
    read_delay : cycles from the one in which the pins below show a READ to the one at whose end
        ``dq_i`` is sampled: the CAS latency, plus one for every register that the board puts
        between; the CAS latency by default

    Members
    -------
    cke … dq_oe : to the chip, each from a register or constant; dq_i : from the chip
    """

    def __init__(self, *, clock_mhz, timing=COMMON, read_delay=None):
        self.cycles = timing.cycles(clock_mhz)
        self.read_delay = self.cycles.delay(read_delay)
        super().__init__({
            **SUBORDINATE(16),
            "cke": Out(1, init=1), "cs_n": Out(1), "ras_n": Out(1, init=1),
            "cas_n": Out(1, init=1), "we_n": Out(1, init=1), "ba": Out(2), "a": Out(13),
            "dqm": Out(2, init=3), "dq_o": Out(16), "dq_oe": Out(1), "dq_i": In(16),
        })

    def elaborate(self, platform):
        m = Module()
        self._current, self._next = Signal(SLOT), Signal(SLOT)
        self._order = Signal()              # the row state machine uses the command pins
        self._pause = Signal()              # no beats: the chip is about to be refreshed
        self._opened = Signal()             # the row in preparation is open
        self._closed = Signal()             # all rows are closed
        self._missed = Signal()             # the row in preparation replaces another
        self._starting = Signal(init=1)
        self._prepared = Signal(PLACE)
        self._for_next = Signal()           # the row in preparation is that of the next burst
        m.d.sync += Cat(self.ras_n, self.cas_n, self.we_n).eq(NOP)
        move, column_end = self._beats(m)
        self._slots(m, move, column_end)
        self._rows(m, move, column_end)
        return m

    def _beats(self, m):
        """Move the current burst's beats between the AXI port and the chip."""
        current, cycles = self._current, self.cycles
        tags = Array(Signal(TAG, name=f"tag_{stage}") for stage in range(self.read_delay + 2))
        # One cycle of silence on dq between the chip's last beat and ours.
        turning = Cat(tag.valid for tag in tags[:cycles.cas + 1]).any()
        move = Signal()
        m.d.comb += [
            self.wready.eq(current.ready & current.write & ~turning & ~self._order & ~self._pause),
            move.eq(current.ready & ~self._order & ~self._pause
                    & (~current.write | (self.wvalid & ~turning))),
        ]
        write, access = move & current.write, move & ~current.error
        m.d.sync += [
            self.ba.eq(current.place.bank), self.a.eq(current.place.column),
            self.dq_o.eq(self.wdata), self.dq_oe.eq(access & current.write),
            self.dqm.eq((~self.wstrb & write.replicate(2)) | self._starting.replicate(2)),
            tags[0].eq(Cat(move & ~current.write, current.last, current.error)),
            *(later.eq(tag) for tag, later in zip(tags[:-1], tags[1:], strict=True)),
            self.rdata.eq(self.dq_i),
            self.bvalid.eq(write & current.last), self.bresp.eq(Mux(current.error, DECERR, 0)),
        ]
        with m.If(access):
            m.d.sync += Cat(self.ras_n, self.cas_n, self.we_n).eq(
                Mux(current.write, WRITE, READ))
        m.d.comb += [self.rvalid.eq(tags[-1].valid), self.rlast.eq(tags[-1].last),
                     self.rresp.eq(tags[-1].error.replicate(2))]
        return move, current.place.column.all()

    def _slots(self, m, move, column_end):
        """The burst that moves, and the one that follows it."""
        m.submodules.queue = queue = BurstQueue(size_bytes=SIZE_BYTES)
        for channel in ("ar", "aw"):
            for name in ADDRESS:
                outer, inner = getattr(self, channel + name), getattr(queue, channel + name)
                m.d.comb += outer.eq(inner) if name == "ready" else inner.eq(outer)
        current, following = self._current, self._next
        advance = Signal()
        m.d.comb += [queue.wvalid.eq(self.wvalid), queue.take.eq(~following.valid),
                     advance.eq(~current.valid | (move & current.last))]
        place = Cat(current.place.column, current.place.bank)
        with m.If(move):
            m.d.sync += [place.eq(place + 1), current.left.eq(current.left - 1),
                         current.last.eq(current.left == 1)]
            with m.If(column_end):
                m.d.sync += current.ready.eq(0)
        with m.If(self._opened):
            with m.If(self._for_next):
                m.d.sync += following.ready.eq(1)
            with m.Else():
                m.d.sync += current.ready.eq(1)
        with m.If(advance):
            m.d.sync += [
                current.eq(following),
                current.ready.eq(following.valid & (
                    following.ready | (self._opened & self._for_next))),
                following.valid.eq(0), following.ready.eq(0), self._for_next.eq(0),
            ]
        with m.If(queue.take):
            m.d.sync += [
                following.place.eq(queue.burst.address), following.left.eq(queue.burst.left),
                following.last.eq(queue.burst.left == 0), following.write.eq(queue.burst.write),
                following.error.eq(queue.burst.error), following.valid.eq(queue.valid),
            ]
        with m.If(self._missed & ~self._for_next):
            m.d.sync += following.ready.eq(0)   # perhaps its row is the one that is closed
        with m.If(self._closed):
            m.d.sync += [current.ready.eq(0), following.ready.eq(0)]

    def _rows(self, m, move, column_end):
        """Open the rows of the two bursts; start and refresh the chip.

        Whether a command may be given is seen one cycle before it is, so that no beat waits for
        the answer; what is true then stays true: only this machine starts the waits, and while a
        row is prepared no burst starts to use another of its bank."""
        cycles, current, following = self.cycles, self._current, self._next
        place, order = self._prepared, Cat(self.ras_n, self.cas_n, self.we_n)
        m.submodules.rows = rows = Memory(shape=13, depth=4, init=[])
        row_read, row_write = rows.read_port(domain="comb"), rows.write_port()
        open_banks, error = Signal(4), Signal()
        m.d.comb += [row_read.addr.eq(place.bank), row_write.addr.eq(place.bank),
                     row_write.data.eq(place.row)]

        ticks, due = Signal(range(cycles.interval)), Signal()
        steps = Signal(range(max(cycles.power_up, INITIAL_REFRESHES) + 1), init=cycles.power_up)
        tick = ticks == 0
        m.d.sync += ticks.eq(Mux(tick, cycles.interval - 1, ticks - 1))

        rest = Signal(range(max(cycles.rp, cycles.rcd, cycles.rfc, cycles.mrd)))
        active = Signal(range(max(cycles.ras - 1, 2)))
        m.d.sync += [rest.eq(rest - (rest != 0)), active.eq(active - (active != 0))]
        rested, kept = rest == 0, active == 0
        write = move & current.write
        wrote, ended = (Signal(max(cycles.wr - 2, 0)) for _ in range(2))
        m.d.sync += [wrote.eq(Cat(write, wrote)),
                     ended.eq(Cat(write & (current.last | column_end), ended))]

        in_use = current.ready & (current.place.bank == place.bank)
        is_open, hit = Signal(), Signal()
        m.d.sync += [
            is_open.eq(open_banks.bit_select(place.bank, 1)),
            hit.eq(error | (open_banks.bit_select(place.bank, 1) & (row_read.data == place.row))),
        ]

        def issue(command, address, wait):
            m.d.comb += self._order.eq(1)
            m.d.sync += [order.eq(command), self.a.eq(address), self.ba.eq(place.bank),
                         rest.eq(max(wait - 2, 0))]

        with m.FSM():
            with m.State("POWER-UP"):
                with m.If(tick):
                    m.d.sync += steps.eq(steps - 1)
                    with m.If(steps == 0):
                        m.d.sync += steps.eq(INITIAL_REFRESHES - 1)
                        m.next = "CLOSE"
            with m.State("LOOK"):
                needed = current.valid & ~current.ready
                m.d.sync += [place.eq(Mux(needed, current.place, following.place)),
                             error.eq(Mux(needed, current.error, following.error))]
                with m.If(due):
                    m.next = "CLOSE"
                with m.Elif(needed | (following.valid & ~following.ready)):
                    # A next burst that is moved up in this cycle is the current one from then on.
                    m.d.sync += self._for_next.eq(~needed & current.valid
                                                  & ~(move & current.last))
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "DECIDE"
            with m.State("DECIDE"):
                m.d.comb += [self._opened.eq(hit), self._missed.eq(~hit)]
                m.next = "PRECHARGE"
                with m.If(~is_open):
                    m.next = "ACTIVATE"
                    with m.If(rested):
                        m.next = "ACTIVATE NOW"
                with m.If(hit):
                    m.next = "LOOK"
            with m.State("PRECHARGE"):
                with m.If(due):
                    m.next = "CLOSE"
                with m.Elif(kept & ~in_use & (ended == 0)):
                    m.next = "PRECHARGE NOW"
            with m.State("PRECHARGE NOW"):
                issue(PRECHARGE, 0, cycles.rp)
                m.next = "ACTIVATE"
            with m.State("ACTIVATE"):
                with m.If(rested):
                    m.next = "ACTIVATE NOW"
            with m.State("ACTIVATE NOW"):
                issue(ACTIVATE, place.row, cycles.rcd)
                m.d.comb += row_write.en.eq(1)
                m.d.sync += [open_banks.bit_select(place.bank, 1).eq(1),
                             active.eq(max(cycles.ras - 2, 0))]
                m.next = "OPENING"
            with m.State("OPENING"):
                with m.If(rested):
                    m.d.comb += self._opened.eq(1)
                    m.next = "LOOK"
            with m.State("CLOSE"):
                m.d.comb += self._pause.eq(1)
                with m.If(rested & kept & (wrote == 0)):
                    m.next = "CLOSE NOW"
            with m.State("CLOSE NOW"):
                issue(PRECHARGE, ALL_BANKS, cycles.rp)
                m.d.comb += self._closed.eq(1)
                m.d.sync += open_banks.eq(0)
                m.next = "REFRESH"
            with m.State("REFRESH"):
                with m.If(rested):
                    m.next = "REFRESH NOW"
            with m.State("REFRESH NOW"):
                issue(REFRESH, 0, cycles.rfc)
                m.d.sync += [due.eq(0), steps.eq(steps - 1)]
                m.next = "REFRESH"
                with m.If(~self._starting):
                    m.next = "LOOK"
                with m.Elif(steps == 0):
                    m.next = "MODE"
            with m.State("MODE"):
                with m.If(rested):
                    m.next = "MODE NOW"
            with m.State("MODE NOW"):
                issue(MODE, cycles.cas << 4, cycles.mrd)    # bursts of one beat
                m.d.sync += [self.ba.eq(0), self._starting.eq(0)]
                m.next = "LOOK"
        with m.If(tick & ~self._starting):
            m.d.sync += due.eq(1)
