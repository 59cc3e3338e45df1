"""Digits and decode tables of every datatype on every kind of element, worked out from the values
that the stored fields stand for."""

import numpy as np
import pytest

from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.memory_format import (
    CODES,
    SELECTS,
    STEPS,
    TABLE_ROWS,
    entry_bits,
    row_index,
)
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.code_codec import part_codes
from bitwright.hw.packing.element_codes import encode
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.datatypes.catalog import datatype
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.sim.verification.random_operands import supported

LUT = PRESETS["tiny"]
TL2 = Machine(rows=2, cols=4, k_tile=24, builders=4, table="tl2")
SERIAL = Machine(pe="serial", k_tile=8, builders=2)
MACS = {bits: Machine(pe="mac", k_tile=4, builders=1, cols=4, memory_bits=16, value_bits=bits)
        for bits in (4, 5, 6, 8, 9)}
DECODING = {"serial": SERIAL, **{f"mac{bits}": config for bits, config in MACS.items()}}


def rows_of(config, encoding):
    """Table entries [row, code] from its bytes."""
    bits = entry_bits(config)
    data = int.from_bytes(encoding.table(config), "little")
    assert len(encoding.table(config)) == TABLE_ROWS * CODES * bits // 8
    return [[data >> (row * CODES + code) * bits & (1 << bits) - 1 for code in range(CODES)]
            for row in range(TABLE_ROWS)]


def sent(config, rows, digit, select, code, slots):
    """Value that an element makes of what the table sends for a code."""
    entries = [rows[row_index(digit, select, step)][code] for step in range(slots)]
    if config.pe == "mac":
        (entry,) = entries
        return entry - (entry >> config.value_bits - 1 << config.value_bits)
    total = 0
    for entry in entries:
        term = (1 << (entry & 3)) * (entry >> 2 & 1) * (-1 if entry >> 3 else 1)
        total = 4 * total + term
    return total


@pytest.mark.parametrize("machine, name", [
    (machine, name) for machine, config in DECODING.items() for name in supported(config)])
def test_tables_send_every_value(machine, name):
    config, kind = DECODING[machine], datatype(name)
    encoding = encode(config, kind)
    types = kind.datatypes if isinstance(kind, Mixture) else (kind,)
    rows = rows_of(config, encoding)
    assert encoding.select == (len(types) > 1)
    for select, dt in enumerate(types):
        for code in dt.codes:
            value, total = dt.values[code], 0
            for index, digit in enumerate(encoding.digits):
                stored = code
                if encoding.stored_values:
                    stored = int(part_codes(encoding, index, np.array([value]))[0])
                assert stored < 1 << encoding.part_bits(index)
                assert 1 <= digit.slots <= STEPS and select < SELECTS
                part = sent(config, rows, index, select, stored, digit.slots)
                total += part << digit.shift
            assert total == 2 * value


SLOTS = {  # slices per weight: serial, mac of 6 bits
    "int1": (1, 1), "int2": (1, 1), "ternary": (1, 1), "int2star": (1, 1), "fp3": (1, 1),
    "pot3": (1, 1), "int3": (2, 1), "int4": (2, 1), "fp4": (2, 1), "fp4_ea_pos": (2, 1),
    "bitmod3": (2, 1), "bitmod4": (2, 1), "dint4": (2, 1), "int5": (3, 2), "int6": (3, 2),
    "fp5_e2m2": (3, 2), "fp6_e2m3": (4, 2), "nf4": (4, 2), "int7": (4, 2), "int8": (5, 2),
}


@pytest.mark.parametrize("name", SLOTS)
def test_slices_per_weight(name):
    assert tuple(sum(digit.slots for digit in encode(config, datatype(name)).digits)
                 for config in (SERIAL, MACS[6])) == SLOTS[name]


@pytest.mark.parametrize("config, kind, reason", [
    (SERIAL, "bcq3", "bcq3 does not run on serial elements: each of its bit-planes has a scale"),
    (MACS[6], "bcq2", "on mac elements: each of its bit-planes has a scale"),
    (SERIAL, "fp6_e3m2", "fp6_e3m2 .* values reach -448…448, and two digits .* −128…127"),
    (MACS[8], "posit8_es1", "values reach .*; use --pe lut or another datatype"),
    (MACS[4], "int8", "int8 does not run on mac elements of value_bits=4.*--set value_bits=5"),
    (LUT, "fp8_e4m3", "fp8_e4m3 does not run on lut elements: it takes 19 bit-planes, and 16"),
    (LUT, "posit8_es1", "26 bit-planes"),
])
def test_pairs_that_do_not_run_are_refused_with_the_reason(config, kind, reason):
    with pytest.raises(PlanError, match=reason):
        encode(config, datatype(kind))


def test_planes():
    assert encode(LUT, datatype("ternary")).digits == ((0, 2, 0, True),)
    assert encode(TL2, datatype("ternary")).digits == ((1, 1, 0, True),)
    assert encode(LUT, datatype("bcq3")).digits == ((1, 1, 0, True),) * 3
    assert encode(LUT, datatype("fp6_e3m2")).digits == tuple(
        (shift, slots, 0, True) for shift, slots in ((0, 4), (4, 4), (8, 2)))
    assert not encode(LUT, datatype("bitmod4")).select  # its planes are those of all candidates


def test_two_planes_of_a_custom_codebook_run_everywhere():
    odd = Datatype(name="odd", bits=2, values=(-3, -1, 1, 3), coefs=(2, 4), constant=-3)
    for config in (LUT, TL2, SERIAL, MACS[6]):
        assert encode(config, odd).digits
