"""Sequencer: turns an ``exec`` into one slot of the slice stream per cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.axi import instruction_layout

__all__ = ["Sequencer", "slot_layout"]


def slot_layout(config):
    """Control of one slot, as it travels down the rows with its slice."""
    return data.StructLayout({
        "valid": 1,     # a plane, to be accumulated
        "last": 1,      # last plane of a digit: the sum goes on to multiplier and psum
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

    A channel takes one slot per plane; in a final pass at least ``config.drain_slots``.

    Members
    -------
    job, job_valid, job_take : head of the job queue
    full : banks that are filled; ``clear_full`` pulses with a bank's last slot
    slot : control, registered; ``w_addr``, ``s_addr``, ``shift``, ``offset`` belong to it
    retire : pulse with the last slot of a job, with its token bits
    idle, busy (a plane is sent), wait_tables
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "job": In(instruction_layout("exec")), "job_valid": In(1), "job_take": Out(1),
            "full": In(2), "clear_full": Out(2),
            "slot": Out(slot_layout(config)), "w_addr": Out(16), "s_addr": Out(16),
            "shift": Out(4), "offset": Out(1),
            "retire": Out(1), "free_w": Out(1), "free_a": Out(1), "signal_out": Out(1),
            "idle": Out(1), "busy": Out(1), "wait_tables": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        job = Signal(instruction_layout("exec"))
        tile, group, channel = Signal(12), Signal(12), Signal(8)
        sub, digit = Signal(range(max(config.rows, 2))), Signal(2)  # digit 0 is the offset
        slot = Signal(range(max(config.drain_slots, 4)))
        bank = Signal()
        w_ptr, s_ptr, s_sub, s_group, out_ptr = (Signal(16) for _ in range(5))

        planes, slots = Signal(3), Signal(range(max(config.drain_slots, 4) + 1))
        first_pass, last_pass, final, run = Signal(), Signal(), Signal(), Signal()
        end_slot, end_pass, end_sub, end_tile = (Signal() for _ in range(4))
        last_tile, valid = Signal(), Signal()
        m.d.comb += [
            planes.eq(Mux(digit == 0, 1, Mux(digit == 1, job.planes0, job.planes1))),
            first_pass.eq(Mux(job.offset, digit == 0, digit == 1)),
            last_pass.eq((digit == 2) | ((digit == 1) & (job.planes1 == 0))),
            last_tile.eq(tile == job.tiles - 1),
            final.eq(job.final & last_tile & last_pass),
            slots.eq(Mux(final & (planes < config.drain_slots), config.drain_slots, planes)),
            valid.eq(run & (slot < planes)),
            end_slot.eq(slot == slots - 1),
            end_pass.eq(end_slot & (channel == job.channels - 1)),
            end_sub.eq(end_pass & last_pass),
            end_tile.eq(end_sub & (~job.row_mode | (sub == config.rows - 1))),
            self.clear_full.eq(Mux(run & end_tile, 1 << bank, 0)),
            self.retire.eq(run & end_tile & last_tile), self.busy.eq(valid),
            self.free_w.eq(job.free_w), self.free_a.eq(job.free_a),
            self.signal_out.eq(job.signal_out),
        ]
        m.d.sync += [
            self.slot.valid.eq(valid), self.slot.last.eq(valid & (slot == planes - 1)),
            self.slot.sigma.eq((slot == planes - 1) & (digit == 1) & job.sigma0),
            self.slot.first.eq(job.first & (tile == 0) & first_pass),
            self.slot.final.eq(final), self.slot.bank.eq(bank),
            self.slot.psum.eq(job.psum + channel), self.slot.out.eq(out_ptr),
            self.slot.rows.eq(Mux(job.row_mode, 1 << sub, ~0)),
            self.w_addr.eq(w_ptr), self.offset.eq(digit == 0),
            self.s_addr.eq(Mux(digit == 0, s_ptr + 1, s_ptr)),
            self.shift.eq(Mux(digit == 0, 1, Mux(digit == 1, job.shift0, job.shift1))),
        ]

        first_digit = Mux(job.offset, 0, 1)
        s_next = s_ptr + 1 + job.offset
        with m.If(run):
            m.d.sync += slot.eq(slot + 1)
            with m.If(valid & (digit != 0)):
                m.d.sync += w_ptr.eq(w_ptr + 1)
            with m.If(end_slot):
                m.d.sync += [slot.eq(0), channel.eq(channel + 1), s_ptr.eq(s_next)]
                with m.If(final):
                    m.d.sync += out_ptr.eq(out_ptr + config.drain_slots)
            with m.If(end_pass):
                m.d.sync += [channel.eq(0), digit.eq(digit + 1), s_ptr.eq(s_sub)]
            with m.If(end_sub):
                m.d.sync += [digit.eq(first_digit), sub.eq(sub + 1), s_ptr.eq(s_next),
                             s_sub.eq(s_next), out_ptr.eq(job.out)]
            with m.If(end_tile):
                m.d.sync += [sub.eq(0), tile.eq(tile + 1), bank.eq(~bank)]
                with m.If(group == job.group_tiles - 1):
                    m.d.sync += [group.eq(0), s_group.eq(s_next)]
                with m.Else():
                    m.d.sync += [group.eq(group + 1), s_ptr.eq(s_group), s_sub.eq(s_group)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(~self.job_valid)
                with m.If(self.job_valid):
                    m.d.comb += self.job_take.eq(1)
                    start = self.job
                    m.d.sync += [job.eq(start), tile.eq(0), group.eq(0), channel.eq(0),
                                 sub.eq(0), slot.eq(0), digit.eq(Mux(start.offset, 0, 1)),
                                 w_ptr.eq(start.w_addr), s_ptr.eq(start.s_addr),
                                 s_sub.eq(start.s_addr), s_group.eq(start.s_addr),
                                 out_ptr.eq(start.out)]
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.wait_tables.eq(~self.full.bit_select(bank, 1))
                with m.If(self.full.bit_select(bank, 1)):
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += run.eq(1)
                with m.If(end_tile & last_tile):
                    m.next = "IDLE"
                with m.Elif(end_tile & ~self.full.bit_select(~bank, 1)):
                    m.next = "WAIT"
        return m
