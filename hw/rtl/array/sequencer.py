"""Sequencer: turns an ``exec`` into one slot of the slice stream per cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.isa.instruction_table import DIGITS
from bitwright.hw.rtl.primitives.instruction_layout import instruction_layout

__all__ = ["Sequencer", "slot_layout"]


def slot_layout(config):
    """Control of one slot, as it travels down the rows with its slice."""
    return data.StructLayout({
        "valid": 1,     # a slice, to be accumulated
        "last": 1,      # last slice of a digit: the sum goes on to multiplier and psum
        "swap": 1,      # first slice of a K-tile: elements take its activations over
        "sigma": 1,     # subtract the sum of activations
        "first": 1,     # the psum starts here
        "final": 1,     # the psum is a result
        "bank": 1,      # table bank
        "psum": range(config.psum_depth),
        "out": range(config.out_depth),
        "rows": config.rows,  # rows that take part, bit 0 this row
    })


class Sequencer(wiring.Component):
    """Second stage of ``exec``. Slots of consecutive K-tiles follow without a gap if tables are
    ready; between instructions two cycles pass.

    A channel takes the slots of the digit, at least ``config.scale_steps``; in a final pass at
    least ``config.drain_slots``. Where weights are decoded it holds one code word for all its
    slots, or shares it with the channels after it (``packing``).

    Members
    -------
    job, job_valid, job_ready : the next job
    full : banks that are filled; ``clear_full`` pulses with a bank's last slot, or its first
        where elements take activations over
    slot : control, registered; ``w_addr``, ``s_addr``, ``shift``, ``offset`` belong to it
    digit, step, part, packing : of the slot, for decoders: digit 0 or 1, slot of the channel,
        place of the code in its word
    select : the scale's half-word selects a codebook
    retire : pulse with the last slot of a job, with its token bits
    idle, busy (a plane is sent), wait_tables
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "job": In(instruction_layout("exec")), "job_valid": In(1), "job_ready": Out(1),
            "full": In(2), "clear_full": Out(2),
            "slot": Out(slot_layout(config)), "w_addr": Out(16), "s_addr": Out(16),
            "shift": Out(4), "offset": Out(1), "digit": Out(1), "step": Out(2), "part": Out(2),
            "packing": Out(2), "select": Out(1),
            "retire": Out(1), "free_w": Out(1), "free_a": Out(1), "signal_out": Out(1),
            "idle": Out(1), "busy": Out(1), "wait_tables": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        job = Signal(instruction_layout("exec"))
        longest = max(config.drain_slots, config.scale_steps, 4)
        layout = data.StructLayout({
            "digit": range(DIGITS + 1),     # 0: the offset
            "wait": range(longest),         # slots before the slices
            "end": range(longest),          # the last slot
            "single": 1,                    # which is the first as well
            "last": 1, "final": 1,          # last pass of the K-tile; its psums are results
            "shift": 4, "scale": 3,         # of the scale's address after that of the channel
        })
        # What depends on a pass is known before it starts; each takes at least four cycles.
        now, coming, described = Signal(layout), Signal(layout), Signal(layout)
        tiles, group, channels = Signal(12), Signal(12), Signal(8)      # to come, this one included
        sub, slot, part = Signal(range(max(config.rows, 2))), Signal(range(longest)), Signal(2)
        last_tile, last_tile_next, last_group, last_sub, last_channel = (Signal() for _ in range(5))
        last_slot, closes_sub, closes_tile = Signal(), Signal(), Signal()
        bank, opening, first_tile = Signal(), Signal(), Signal()
        psum = Signal(range(config.psum_depth))
        w_ptr, w_sub, s_ptr, s_sub, s_group, out_ptr = (Signal(16) for _ in range(6))
        per_channel, s_step = Signal(3), Signal(3)

        m.d.comb += per_channel.eq(Mux(job.plane_scales, self._digits(job), 1))
        run, waiting, valid = Signal(), Signal(), Signal()
        end_slot, end_pass, end_sub, end_tile = (Signal() for _ in range(4))
        first_digit = Mux(job.offset, 0, 1)
        packing = Mux(now.digit == 2, job.packing1, job.packing0)
        m.d.comb += [
            # Slices come last in a channel's slots, so that sums are far enough apart.
            valid.eq(run & (slot >= now.wait)), end_slot.eq(run & last_slot),
            end_pass.eq(end_slot & last_channel), end_sub.eq(end_slot & closes_sub),
            end_tile.eq(end_slot & closes_tile),
            self.clear_full.eq(Mux(run & opening if config.decodes else end_tile, 1 << bank, 0)),
            self.retire.eq(end_tile & last_tile), self.busy.eq(valid),
            self.free_w.eq(job.free_w), self.free_a.eq(job.free_a),
            self.signal_out.eq(job.signal_out),
        ]
        m.d.sync += [
            self.slot.valid.eq(valid), self.slot.last.eq(valid & end_slot),
            self.slot.swap.eq(run & opening),
            self.slot.sigma.eq(end_slot & (now.digit == 1) & job.sigma0),
            self.slot.first.eq(job.first & first_tile & (now.digit == first_digit)),
            self.slot.final.eq(now.final), self.slot.bank.eq(bank),
            self.slot.psum.eq(psum), self.slot.out.eq(out_ptr),
            self.slot.rows.eq(Mux(job.row_mode & (config.rows > 1), 1 << sub, ~0)),
            self.w_addr.eq(w_ptr), self.offset.eq(now.digit == 0),
            self.s_addr.eq(s_ptr + now.scale), self.shift.eq(now.shift),
            self.digit.eq(now.digit == 2), self.step.eq(slot - now.wait), self.part.eq(part),
            self.packing.eq(packing), self.select.eq(job.select & (now.digit != 0)),
        ]

        # The pass after this one; while waiting, this one.
        turn = now.last & last_sub
        self._describe(m, job, described, per_channel,
                       Mux(waiting, now.digit, Mux(now.last, first_digit, now.digit + 1)),
                       Mux(waiting, tiles == 1, Mux(turn, last_tile_next, last_tile)))
        m.d.sync += [
            coming.eq(described), last_tile_next.eq(tiles == 2), last_group.eq(group == 1),
            last_sub.eq((config.rows == 1) | ~job.row_mode | (sub == config.rows - 1)),
            s_step.eq(per_channel + job.offset),
        ]
        with m.If(waiting):
            m.d.sync += [now.eq(described), last_slot.eq(described.single),
                         last_tile.eq(tiles == 1)]

        s_next = s_ptr + s_step
        with m.If(run):
            m.d.sync += [slot.eq(slot + 1), last_slot.eq(slot + 1 == now.end), opening.eq(0)]
        if not config.decodes:
            with m.If(valid & (now.digit != 0)):
                m.d.sync += w_ptr.eq(w_ptr + 1)
        with m.If(end_slot):
            m.d.sync += [slot.eq(0), last_slot.eq(now.single), psum.eq(psum + 1), s_ptr.eq(s_next),
                         channels.eq(channels - 1), last_channel.eq(channels == 2),
                         closes_sub.eq((channels == 2) & now.last),
                         closes_tile.eq((channels == 2) & now.last & last_sub)]
            if config.decodes:
                with m.If(now.digit != 0):
                    m.d.sync += part.eq(part + 1)
                    with m.If(end_pass | (part == (1 << packing) - 1)):
                        m.d.sync += [part.eq(0), w_ptr.eq(w_ptr + 1)]
            with m.If(now.final):
                m.d.sync += out_ptr.eq(out_ptr + config.drain_slots)
        with m.If(end_pass):
            m.d.sync += [channels.eq(job.channels), last_channel.eq(0), closes_sub.eq(0),
                         closes_tile.eq(0), psum.eq(job.psum),
                         now.eq(coming), last_slot.eq(coming.single), s_ptr.eq(s_sub)]
            if config.decodes:
                with m.If(job.again & (now.digit == 1)):
                    m.d.sync += w_ptr.eq(w_sub)
        with m.If(end_sub):
            m.d.sync += [sub.eq(sub + 1), s_ptr.eq(s_next), s_sub.eq(s_next), out_ptr.eq(job.out)]
            if config.decodes:
                m.d.sync += w_sub.eq(w_ptr + 1)
        with m.If(end_tile):
            m.d.sync += [sub.eq(0), tiles.eq(tiles - 1), last_tile.eq(last_tile_next),
                         first_tile.eq(0), opening.eq(1)]
            if config.banks == 2:
                m.d.sync += bank.eq(~bank)
            with m.If(last_group):
                m.d.sync += [group.eq(job.group_tiles), s_group.eq(s_next)]
            with m.Else():
                m.d.sync += [group.eq(group - 1), s_ptr.eq(s_group), s_sub.eq(s_group)]

        # The only bank of tables is still full when its last slot leaves.
        ready = (self.full.bit_select(~bank, 1) if config.banks == 2
                 else self.full[0] if config.decodes else Const(0))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(~self.job_valid)
                m.d.comb += self.job_ready.eq(1)
                start = self.job
                load = [
                    job.eq(start), tiles.eq(start.tiles), group.eq(start.group_tiles),
                    channels.eq(start.channels), last_channel.eq(0), sub.eq(0), slot.eq(0),
                    now.digit.eq(Mux(start.offset, 0, 1)), part.eq(0), opening.eq(1),
                    first_tile.eq(1), psum.eq(start.psum), out_ptr.eq(start.out),
                    *(pointer.eq(start.w_addr) for pointer in (w_ptr, w_sub)),
                    *(pointer.eq(start.s_addr) for pointer in (s_ptr, s_sub, s_group)),
                ]
                if config.far:  # whether there is a job or not: that is known late
                    m.d.sync += load
                with m.If(self.job_valid):
                    if not config.far:
                        m.d.sync += load
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += [waiting.eq(1),
                             self.wait_tables.eq(~self.full.bit_select(bank, 1))]
                with m.If(self.full.bit_select(bank, 1)):
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += run.eq(1)
                with m.If(end_tile & last_tile):
                    m.next = "IDLE"
                with m.Elif(end_tile & ~ready):
                    m.next = "WAIT"
        return m

    def _describe(self, m, job, described, per_channel, digit, last_tile):
        """Describe the pass of ``digit``."""
        config = self._config
        slots = [job[f"slots{d}"] for d in range(DIGITS)]
        work, taken = Signal(3), Signal(range(max(config.drain_slots, config.scale_steps, 4) + 1))
        least = Mux(described.final, max(config.drain_slots, config.scale_steps),
                    config.scale_steps)
        m.d.comb += [
            work.eq(Array([1, *slots])[digit]), taken.eq(Mux(work < least, least, work)),
            described.digit.eq(digit), described.wait.eq(taken - work), described.end.eq(taken - 1),
            described.single.eq(taken == 1),
            described.last.eq((digit != 0) & (Array([0, *slots[1:], 0])[digit] == 0)),
            described.final.eq(job.final & last_tile & described.last),
            described.shift.eq(Array([1, *(job[f"shift{d}"] for d in range(DIGITS))])[digit]),
            described.scale.eq(Mux(digit == 0, per_channel,
                                   Mux(job.plane_scales, digit - 1, 0))),
        ]

    @staticmethod
    def _digits(job):
        """Digits of the job, as a number."""
        return sum((job[f"slots{d}"] != 0 for d in range(1, DIGITS)), Const(1))
