from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES, OPS, ProgramError
from bitwright.hw.isa.listing import isa_markdown, isa_text
from bitwright.hw.isa.program_tree import (
    Instr,
    Loop,
    assemble,
    disassemble,
    flatten,
    nesting,
    parse,
)

ROOT = Path(__file__).parents[3]
HALT = Instr("halt")


def limits(op, name):
    bits = OPS[op].layout[name][1]
    if (op, name) == ("add", "value"):
        return -(1 << bits - 1), (1 << bits - 1) - 1
    return (0, 2) if (op, name) == ("load", "target") else (
        (0, 5) if (op, name) == ("credit", "queue") else (0, (1 << bits) - 1))


@st.composite
def instrs(draw, ops=tuple(OPS)):
    op = draw(st.sampled_from(ops))
    return Instr.make(op, **{name: draw(st.integers(*limits(op, name)))
                             for name in OPS[op].layout})


BODY = [op for op in OPS if op not in ("loop", "end", "halt")]
NODES = st.recursive(instrs(BODY), lambda inner: st.builds(
    Loop, st.integers(1, 65535), st.lists(inner, min_size=1, max_size=3).map(tuple)), max_leaves=6)


@given(instrs())
def test_encode_then_decode(instr):
    data = instr.encode()
    assert len(data) == INSTRUCTION_BYTES
    again = Instr.decode(data)
    assert again.op == instr.op
    assert all(again[name] == instr[name] for name in OPS[instr.op].layout)


@given(instrs())
def test_bits_are_where_the_table_says(instr):
    word = int.from_bytes(instr.encode(), "little")
    assert word & 15 == OPS[instr.op].code
    used = 15
    for name, (at, bits) in OPS[instr.op].layout.items():
        mask = (1 << bits) - 1
        assert word >> at & mask == instr[name] & mask
        assert not used >> at & mask, f"{name} overlaps"
        used |= mask << at
    assert not word & ~used


@pytest.mark.parametrize("op, name", [(op, name) for op in OPS for name in OPS[op].layout])
def test_a_value_beyond_its_field_is_refused(op, name):
    low, _ = limits(op, name)
    high = (1 << OPS[op].layout[name][1]) - 1 + (low < 0)  # for signed ones, past unsigned too
    for value in (low - 1, high + 1):
        with pytest.raises(ProgramError, match=rf"{name}.*{value}"):
            Instr.make(op, **{name: value})


def test_unknown_field_and_opcode():
    with pytest.raises(ProgramError, match="halt has no field 'beats'"):
        Instr.make("halt", beats=1)
    for opcode in range(8, 16):
        with pytest.raises(ProgramError, match=f"instruction 1: .*{opcode}"):
            parse(HALT.encode() + bytes([opcode]).ljust(INSTRUCTION_BYTES, b"\0"))
    for op, name, value in (("load", "target", 4), ("credit", "queue", 6)):
        with pytest.raises(ProgramError, match=f"instruction 0: unknown {name} {value} of {op}"):
            disassemble(Instr.make(op, **{name: value}).encode() + HALT.encode())


@given(st.lists(NODES, max_size=4).filter(lambda nodes: nesting(nodes) <= 4))
def test_programs_round_trip(nodes):
    program = (*nodes, HALT)
    parsed = parse(assemble(program))
    assert assemble(parsed) == assemble(program)
    assert list(flatten(parsed)) == [Instr.decode(instr.encode()) for instr in flatten(program)]
    assert disassemble(assemble(program)).count("\n") == len(assemble(program)) // 32


def loops(count):
    node = Instr.make("add", reg=1, value=1)
    for _ in range(count):
        node = Loop(2, (node,))
    return node


@pytest.mark.parametrize("data, message", [
    (b"", "program of 0 bytes is not a whole number of 32-byte instructions"),
    (HALT.encode()[:-1], "program of 31 bytes"),
    (HALT.encode() + b"\0", "program of 33 bytes"),
    (Instr("end").encode() + HALT.encode(), "instruction 0: end without loop"),
    (Instr.make("loop", count=2).encode() + HALT.encode(), "loop without end"),
    (Instr.make("loop", count=0).encode() + HALT.encode(), "instruction 0: a loop runs"),
    (assemble([loops(5), HALT]), "instruction 4: more than 4 nested loops"),
    (Instr.make("add", reg=1, value=1).encode(), "does not end with halt"),
])
def test_parse_errors(data, message):
    with pytest.raises(ProgramError, match=message):
        parse(data)
    with pytest.raises(ProgramError, match=message):
        disassemble(data)


def test_four_nested_loops_are_allowed():
    assert nesting(parse(assemble([loops(4), HALT]))) == 4


def test_disassembly_of_a_handmade_program():
    program = [
        Instr.make("credit", queue=2, count=3),
        Instr.make("add", reg=1, value=-4096),
        Loop(2, (
            Instr.make("load", dram=64, dram_reg=1, beats=8, target=1, wait=1, signal=1),
            Loop(3, (Instr.make("load", beats=4),
                     Instr.make("store", dram_reg=2, rows=2, beats=4, stride=128))))),
        HALT]
    assert disassemble(assemble(program)) == (
        "    0  credit queue=w_free count=3\n"
        "    1  add reg=1 value=-4096\n"
        "    2  loop count=2\n"
        "    3    load dram=64+r1 beats=8 target=acts wait=1 signal=1\n"
        "    4    loop count=3\n"
        "    5      load beats=4 target=weights\n"
        "    6      store dram=0+r2 stride=128 rows=2 beats=4\n"
        "    7    end\n"
        "    8  end\n"
        "    9  halt\n")


def test_document_is_current():
    assert (ROOT / "docs/reference/isa.md").read_text(encoding="utf-8") == isa_markdown(), (
        "run: python -m hw isa --markdown > docs/reference/isa.md")


def test_every_operation_and_field_is_listed():
    for text in (isa_text(), isa_markdown()):
        for op in OPS.values():
            assert op.name in text and all(f.name in text and f.doc in text for f in op.fields)
