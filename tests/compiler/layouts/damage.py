"""Damaged input: bytes cut, changed, moved; JSON with parts changed, and as no library writes it.

``attempt`` says what a reader may do with it: give a result, or one clear line, in little time and
memory.
"""

import json
import struct
import time
import tracemalloc
from copy import deepcopy

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bitwright.compiler.image.codebook_entries import KindError
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.ir.memory_map import MapError
from bitwright.compiler.layouts.native_matrix import LayoutError
from bitwright.hw.isa.instruction_table import ProgramError
from bitwright.hw.machine.description import MachineError
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.quantization.groups import ScaleUnderflow

CLEAN = (CheckpointError, LayoutError, MapError, ImageError, KindError, MachineError, PlanError,
         ProgramError, ScaleUnderflow)
ROOM, PER_BYTE, SECONDS = 8_000_000, 200, 4.0
MESSAGE = 1200  # characters


def fuzz(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None,
                    suppress_health_check=list(HealthCheck))


class Text(str):
    """Put into JSON as it is."""


class Members(list):
    """An object's keys and values, which may be there twice."""


ODD = [None, True, False, -1, 0, 1, 2, 3, 4, 8, 16, 32, 1024, 1 << 20, 1 << 31, (1 << 31) - 1,
       1 << 40, 1 << 63, 1 << 64, -(1 << 63), 1e-300, 0.5, -0.5, 1e300, "", "x", "int4", "F32",
       "U8", "F64", "F4", "C64", "BOOL", "gptq", "awq", "bitnet", "fp8", "mxfp4", "gguf", "a\nb",
       "\x1b[31m", "\0", "é", "\u2028", "x" * 5000, [], [[]], {}, [1], [0, 0], [1, 1 << 62],
       [1 << 90] * 2, [None], ["x"], {"weights": {}}, {"x": {"weights": None}}, [0] * 300,
       Text("1e999"), Text("-1e999"), Text("1" * 4200), Text("-0"), Text("1e2"),
       Text("[" * 900 + "]" * 900), Text('"\\ud800"'), Text('"\\u0000"')]
NO_JSON = [Text(text) for text in (
    "NaN", "-Infinity", "1" * 5000, "[" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, "'x'", "01",
    "")]


def encode_json(value):
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, Members):
        return "{" + ", ".join(f"{json.dumps(key)}: {encode_json(each)}"
                               for key, each in value) + "}"
    if isinstance(value, dict):
        return encode_json(Members(value.items()))
    if isinstance(value, list):
        return "[" + ", ".join(map(encode_json, value)) + "]"
    return json.dumps(value)


def _tree(value):
    if isinstance(value, dict):
        return Members([key, _tree(each)] for key, each in value.items())
    return [_tree(each) for each in value] if isinstance(value, list) else value


def _value(where, at):
    return where[at][1] if isinstance(where, Members) else where[at]


def _place(draw, tree):
    """A list or object that is not empty and an index of it, at any depth: on the way down, each
    part of one thing is as likely as the others."""
    where, at = tree, draw(st.integers(0, len(tree) - 1))
    while isinstance(inner := _value(where, at), list) and inner and draw(st.integers(0, 3)):
        where, at = inner, draw(st.integers(0, len(inner) - 1))
    return where, at


@st.composite
def damaged_json(draw, value, keys=()):
    """The JSON text of ``value`` with up to three parts changed, left out, written twice, renamed
    or exchanged; ``keys`` may be added to its top."""
    tree = _tree(value)
    for _ in range(draw(st.integers(1, 3))):
        if not tree:
            break
        (where, at), (other, index) = _place(draw, tree), _place(draw, tree)
        how = draw(st.sampled_from(["odd", "odd", "near", "near", "drop", "exchange", "exchange",
                                    "key", "add", draw(st.sampled_from(["twice", "none"]))]))
        odd = _tree(draw(st.sampled_from(NO_JSON if how == "none" else ODD)))
        named = isinstance(where, Members)
        value = _value(where, at)
        if how == "near" and type(value) is int:
            odd = draw(st.sampled_from([value - 1, value + 1, 2 * value, value // 2]))
        if how in ("odd", "near", "none"):
            where[at] = [where[at][0], odd] if named else odd
        elif how == "drop":
            del where[at]
        elif how == "twice":
            where.append(deepcopy(where[at]))
        elif how == "key" and named and isinstance(odd, str) and not isinstance(odd, Text):
            where[at] = [odd, where[at][1]]
        elif how == "exchange" and named and isinstance(other, Members):
            where[at] = [where[at][0], deepcopy(other[index][1])]
        elif how == "add" and keys and isinstance(tree, Members):
            tree.append([draw(st.sampled_from(keys)), odd])
    text = encode_json(tree)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def damaged_bytes(draw, raw):
    """``raw`` with bytes changed, a piece overwritten, moved or left out, or its end cut off."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    how = draw(st.integers(0, 6))
    at = draw(st.integers(0, max(len(data) - 8, 0)))
    if how < 2:
        form, most = draw(st.sampled_from([("<Q", 64), ("<I", 32), ("<H", 16)]))
        value = draw(st.sampled_from([0, 1, 2, 255, 1 << most // 2, (1 << most) - 1,
                                      1 << most - 1, (1 << most - 4) - 1]))
        data[at:at + most // 8] = struct.pack(form, value)
    elif how == 2:
        length = draw(st.integers(1, 64))
        piece = bytes(data[at:at + length])
        to = draw(st.integers(0, len(data)))
        data[to:to + draw(st.integers(0, length))] = piece
    elif how == 3:
        del data[at:at + draw(st.integers(1, 200))]
    elif how == 4:
        del data[draw(st.integers(0, len(data))):]
    return bytes(data)


def attempt(action, size, clean=CLEAN):
    """Run on input of ``size`` bytes; anything but a result or a clear line fails."""
    start = time.process_time()
    tracemalloc.start()
    try:
        action()
    except clean as error:
        text = str(error)
        assert text.isprintable() and len(text) < MESSAGE, text
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < ROOM + PER_BYTE * size, peak
    assert time.process_time() - start < SECONDS
