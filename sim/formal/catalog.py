"""Lists the proofs."""

from collections.abc import Callable
from functools import partial
from typing import Any

from amaranth.lib.fifo import SyncFIFO

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.primitives.fifo import Fifo, InstructionQueue, Queue
from bitwright.models.plugins import Registry
from bitwright.sim.formal import control_registers as control
from bitwright.sim.formal import dispatcher as dispatch
from bitwright.sim.formal import dma_engines as dma
from bitwright.sim.formal import dot_product as dot
from bitwright.sim.formal import queues
from bitwright.sim.formal import table_filler as fill
from bitwright.sim.formal.proof import Proof

__all__ = ["PROOFS"]

CORE = Machine(program_depth=8, outstanding=2)
ONE = Machine(rows=1, cols=1, memory_bits=16, program_depth=16, outstanding=1, weight_depth=64)
STORE = ONE.replace(rows=4)
LANES = Machine(rows=1, cols=4, k_tile=4, builders=1, memory_bits=16, psum_depth=8, act_bits=4)
TREE = LANES.replace(k_tile=8, builders=2, cols=2)
MUX, MAC, SERIAL = (LANES.replace(table="mux"), LANES.replace(pe="mac", value_bits=2),
                    LANES.replace(pe="serial"))
TERNARY = Machine(table="tl2", cols=4, k_tile=12, memory_bits=16)


def _digit(name: str, text: str, build: Callable[[], Any], depth: int) -> Proof:
    return Proof(name=name, text=text, build=build, depth=depth,
                 any_state=True, solver="smtbmc --unroll z3 -- --noincr --logic QF_BV")


PROOFS: Registry[Proof] = Registry("proof", (
    Proof(name="tokens", induction=True, depth=2, build=queues.token_queue,
          text="A token queue holds tokens given and not yet taken, 0 to 255, if one is taken only "
               "while it is ready and no more than 255 are ever there."),
    *(Proof(name=f"fifo{depth}", induction=True, depth=2,
            build=partial(queues.fifo, depth, kind),
            text=f"A queue of {depth} words ({use}) loses, doubles and reorders nothing, and a "
                 "word offered stays until it is taken.")
      for depth, use, kind in (
          (8, "instructions of an engine", InstructionQueue), (4, "beats to store", SyncFIFO),
          (2, "jobs of the sequencer", Fifo), (5, "loads in flight", Queue))),
    Proof(name="control", induction=True, depth=3, build=lambda: control.control(CORE),
          text="Every AXI4-Lite request is answered once, B and R stay until taken, a write takes "
               "address and data together, and MAGIC, IDENTITY and PROGRAM read back."),
    Proof(name="dispatch", induction=True, depth=2, build=lambda: dispatch.dispatcher(CORE),
          text="An instruction offered to an engine stays, unchanged, until taken or the machine "
               "stops; it goes to one engine, once."),
    Proof(name="exec-tokens", induction=True, depth=3, build=lambda: fill.filler_tokens(CORE),
          text="The first stage of exec takes an instruction only if it is there, its tokens are "
               "and the sequencer has room, and passes it on unchanged."),
    Proof(name="load-ar", induction=True, depth=3, build=lambda: dma.load_addresses(CORE),
          text="Load: AR stays until taken, no burst crosses 4 KiB, at most `outstanding` are in "
               "flight, tokens are taken only where there are some, and every beat is written."),
    Proof(name="load-data", depth=8, build=lambda: dma.load_beats(ONE),
          text="Load: the bursts of the first instruction, of up to 3 beats, tile it exactly, and "
               "its beats go to consecutive places in order."),
    Proof(name="store-aw", induction=True, depth=3, build=lambda: dma.store_addresses(CORE),
          text="Store: AW and W stay until taken, no burst crosses 4 KiB, at most `outstanding` "
               "are unanswered, and no inner queue overflows."),
    Proof(name="store-w", depth=8, build=lambda: dma.store_beats(STORE),
          text="Store: the first instruction, of up to 3 rows of up to 3 beats, sends its words "
               "in order to its addresses, last exactly with a burst's last beat."),
    *(Proof(name=f"fill-{kind}", induction=True, depth=5,
            build=partial(fill.filler_entries, machine),
            text=f"Every entry written to {what} is {value}, for all activations.")
      for kind, machine, what, value in (
          ("lutram", CORE, "a table in LUT RAM", "its signed sum of four activations"),
          ("mux", CORE.replace(table="mux"), "a multiplexer table", "its sum of two activations"),
          ("tl2", TERNARY, "a ternary table", "its sum of three activations"),
          ("acts", CORE.replace(pe="mac"), "the shadow registers", "the activation itself"))),
    _digit("lut-plane", "LutPE (lutram, with its row): 4 weights of one bit, 4-bit activations: "
           "the result is 2·Σ w·a and the constant of the complements.",
           lambda: dot.lut_digit(LANES, 1, 4), 17),
    _digit("lut-digit", "LutPE (lutram, with its row): 4 weights of three bits, activations of "
           "one: the digit's planes add up to 2·Σ w·a and the constant.",
           lambda: dot.lut_digit(LANES, 3, 1), 19),
    _digit("lut-tree", "LutPE (lutram, with its row): 8 weights of two bits in two tables, "
           "activations of one bit.", lambda: dot.lut_digit(TREE, 2, 1), 19),
    _digit("mux-digit", "LutPE (mux, with its row): 4 weights of two bits, activations of two.",
           lambda: dot.lut_digit(MUX, 2, 2), 14),
    _digit("serial-slot", "SerialPE: 4 terms 0, ±1, ±2, ±4, ±8, activations of two bits: the "
           "result is Σ t·a and the constant.", lambda: dot.serial_digit(SERIAL, 1, 2), 9),
    _digit("serial-digit", "SerialPE: two slots of 4 terms, activations of one bit: the result is "
           "Σ (4·t1 + t0)·a and the constant.", lambda: dot.serial_digit(SERIAL, 2, 1), 10),
    _digit("mac-digit", "MacPE: 4 weights of two bits, 4-bit activations: the result is "
           "Σ w·a.", lambda: dot.mac_digit(MAC, 4), 10),
))
