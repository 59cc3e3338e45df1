"""Prints the instruction table for people."""

from typing import Any

from bitwright.hw.isa.instruction_table import (
    INSTRUCTION_BITS,
    INSTRUCTION_BYTES,
    LOOP_DEPTH,
    OPCODE_BITS,
    OPS,
    REGISTERS,
    Op,
    Queue,
)

__all__ = ["isa_markdown", "isa_rows", "isa_text"]

HEAD = f"""# Instruction set

Made from `hw/isa/instruction_table.py` by `bitwright hw isa --markdown`.

An instruction is {INSTRUCTION_BITS} bits ({INSTRUCTION_BYTES} bytes), little-endian in memory.
Bits 0…{OPCODE_BITS - 1} are the opcode; bits that no field names are ignored. Fields are unsigned
unless stated.

There are {REGISTERS} address registers of 32 bits; register 0 is always zero, all are zero when a
program starts, and only `add` changes one. A field `x` for which there is an `x_reg` is an address:
the register so named is added to it when the instruction is dispatched. Addresses of on-chip
buffers wrap at the buffer's depth. Loops nest {LOOP_DEPTH} deep.

A program ends with `halt`. An opcode that is not listed, or a `load` with another target (the
decode table where there is none), stops the machine with error 1.
"""


def field_rows(op: Op) -> list[tuple[str, int, int, str]]:
    """Name, lowest bit, width and meaning of every field, register numbers included."""
    docs = {field.name: field.doc for field in op.fields}
    return [(name, at, bits, docs.get(name, f"register added to `{name.removesuffix('_reg')}`"))
            for name, (at, bits) in op.layout.items()]


def _span(at: int, bits: int) -> str:
    return f"{at}" if bits == 1 else f"{at}…{at + bits - 1}"


def isa_markdown() -> str:
    """The document ``docs/reference/isa.md``."""
    parts = [HEAD]
    for op in OPS.values():
        parts.append(f"\n## {op.code} `{op.name}`\n\n{op.doc}.\n")
        if op.fields:
            parts.append("\n| bits | field | meaning |\n| --- | --- | --- |\n")
            parts += [f"| {_span(at, bits)} | `{name}` | {doc} |\n"
                      for name, at, bits, doc in field_rows(op)]
    queues = "\n".join(f"| {index} | `{name}` |" for index, name in enumerate(Queue.names))
    parts.append("\n## Token queues\n\nA queue counts tokens from 0 to 255. All are empty when a "
                 f"program starts.\n\n| number | queue |\n| --- | --- |\n{queues}\n")
    return "".join(parts)


def isa_rows() -> list[dict[str, Any]]:
    """The table as JSON values: every operation with its fields' bits."""
    return [{"code": op.code, "name": op.name, "meaning": op.doc, "fields": [
        {"name": name, "first_bit": at, "bits": bits, "meaning": doc}
        for name, at, bits, doc in field_rows(op)]} for op in OPS.values()]


def isa_text() -> str:
    """The table for a terminal: one line per field."""
    lines = []
    for op in OPS.values():
        lines.append(f"{op.code:2d} {op.name:7s}{op.doc}\n")
        lines += [f"   {_span(at, bits):>9s}  {name:12s} {doc}\n"
                  for name, at, bits, doc in field_rows(op) if not name.endswith("_reg")]
    return "".join(lines)
