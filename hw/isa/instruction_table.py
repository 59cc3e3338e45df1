"""Defines the instruction table. Hardware, assembler, disassembler, cycle model and docs read this
file.

An instruction is 256 bits, little-endian in memory; the opcode is bits 0…3. A field with ``base``
set is an address, to which an address register is added when the instruction is dispatched: bits
4…7 name the register of the first address, the next 4 bits that of the second, and so on. From bit
24 on follow the addresses, each in a slot of 16 bits, or of 32 if one of them needs more; then the
other fields in the order listed, least significant first. Register 0 is always zero. Registers
start at zero and change by ``add`` only; addresses of on-chip buffers wrap at the buffer's depth.
"""

from dataclasses import dataclass, field

from bitwright.models.errors import Error

INSTRUCTION_BITS = 256
INSTRUCTION_BYTES = INSTRUCTION_BITS // 8
OPCODE_BITS = 4
REGISTERS = 16
REGISTER_BITS = 4
FIELDS_AT = 24          # first bit after the opcode and the register numbers
LOOP_DEPTH = 4
DIGITS = 4              # of a weight, at most


class ProgramError(Error, ValueError):
    """A program that does not decode or does not fit. One line, for people."""


class Target:
    """Buffers a ``load`` fills."""
    WEIGHTS, ACTS, SCALES, TABLE = range(4)
    names = ("weights", "acts", "scales", "table")


class Queue:
    """Token queues; each is a counter that a producer raises and a consumer waits on."""
    W_READY, A_READY, W_FREE, A_FREE, OUT_READY, OUT_FREE = range(6)
    names = ("w_ready", "a_ready", "w_free", "a_free", "out_ready", "out_free")

NAMES = {"target": Target.names, "queue": Queue.names}  # fields shown by name


@dataclass(frozen=True)
class Field:
    name: str
    bits: int
    doc: str
    base: bool = False       # an address, to which a register is added
    register: bool = False   # the number of a register


@dataclass(frozen=True)
class Op:
    name: str
    code: int
    doc: str
    fields: tuple[Field, ...] = ()
    layout: dict[str, tuple[int, int]] = field(init=False)  # name -> (first bit, width)

    def __post_init__(self) -> None:
        numbers = [item.name + "_reg" if item.base else item.name for item in self.fields
                   if item.base or item.register]
        layout = {name: (OPCODE_BITS + REGISTER_BITS * index, REGISTER_BITS)
                  for index, name in enumerate(numbers)}
        at = FIELDS_AT
        for item in (*self.addresses, *(item for item in self.fields
                                        if not (item.base or item.register))):
            layout[item.name] = (at, item.bits)
            at += self.slot_bits if item.base else item.bits
        assert at <= INSTRUCTION_BITS
        object.__setattr__(self, "layout", layout)

    @property
    def addresses(self) -> tuple[Field, ...]:
        """Fields that an address register is added to, in order."""
        return tuple(item for item in self.fields if item.base)

    @property
    def slot_bits(self) -> int:
        """Bits from one address to the next."""
        return 16 if all(item.bits <= 16 for item in self.addresses) else 32


def _address(name: str, bits: int, doc: str) -> Field:
    return Field(name, bits, doc, base=True)

OPS: dict[str, Op] = {op.name: op for op in (
    Op("halt", 0, "end of the program"),
    Op("loop", 1, "repeat up to the matching end", (
        Field("count", 16, "iterations, at least 1"),)),
    Op("end", 2, "end of a loop body"),
    Op("add", 3, "reg += value, modulo 2^32", (
        Field("reg", REGISTER_BITS, "register 1…15", register=True),
        Field("value", 32, "two's complement"))),
    Op("credit", 4, "raise a token queue", (
        Field("queue", 3, "token queue"),
        Field("count", 8, "tokens"))),
    Op("load", 5, "memory to buffer, contiguous beats", (
        _address("dram", 32, "byte address, a multiple of the beat"),
        _address("sram", 24, "buffer address in beats"),
        Field("beats", 24, "length in beats, at least 1"),
        Field("target", 3, "0 weights, 1 acts, 2 scales, 3 decode table"),
        Field("broadcast", 1, "acts: write every row (row mode)"),
        Field("wait", 1, "take a token of w_free (a_free for acts)"),
        Field("signal", 1, "give a token to w_ready (a_ready for acts)"))),
    Op("exec", 6, "one output tile over a run of K-tiles", (
        _address("w_addr", 16, "weight buffer word"),
        _address("a_addr", 16, "activation buffer word"),
        _address("s_addr", 16, "scale buffer word"),
        _address("psum", 16, "psum base"),
        _address("out", 16, "output buffer word"),
        Field("tiles", 12, "K-tiles, at least 1"),
        Field("channels", 8, "channels per column, at least 4"),
        *(item for digit in range(DIGITS) for item in (
            Field(f"slots{digit}", 3, f"slots of digit {digit}, "
                  + ("1…4" if digit == 0 else "0 for none")),
            Field(f"shift{digit}", 4, f"shift of digit {digit}"))),
        Field("sigma0", 1, "digit 0 subtracts the sum of activations"),
        Field("packing0", 2, "log2 of the codes that share a word (decoded weights), digit 0"),
        Field("packing1", 2, "the same of digit 1"),
        Field("again", 1, "digit 1 reads the words of digit 0 once more"),
        Field("select", 1, "bits 9 and 10 of a scale select the codebook"),
        Field("plane_scales", 1, "every digit has a scale of its own"),
        Field("offset", 1, "each channel has an offset beside its scale"),
        Field("group_tiles", 12, "K-tiles that share a scale, at least 1"),
        Field("row_mode", 1, "rows serve different channels of one token"),
        Field("first", 1, "psums start from zero"),
        Field("final", 1, "results go to the output buffer"),
        Field("wait_w", 1, "take a token of w_ready"),
        Field("wait_a", 1, "take a token of a_ready"),
        Field("wait_out", 1, "take a token of out_free"),
        Field("free_w", 1, "give a token to w_free"),
        Field("free_a", 1, "give a token to a_free"),
        Field("signal_out", 1, "give a token to out_ready"))),
    Op("store", 7, "output buffer to memory, rows of contiguous beats", (
        _address("dram", 32, "byte address of row 0"),
        _address("out", 16, "output buffer word"),
        Field("stride", 32, "bytes from row to row"),
        Field("rows", 8, "rows, at least 1"),
        Field("beats", 16, "beats per row, at least 1"),
        Field("wait", 1, "take a token of out_ready"),
        Field("signal", 1, "give a token to out_free"))),
)}

BY_CODE = {op.code: op for op in OPS.values()}
