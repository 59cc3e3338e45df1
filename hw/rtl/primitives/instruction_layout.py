"""Gives the fields of an instruction as an Amaranth structure."""

from amaranth import *
from amaranth.lib import data

from bitwright.hw.isa.instruction_table import OPS


def instruction_layout(op):
    """Fields of one operation as a structure, register numbers left out (added at dispatch)."""
    return data.StructLayout({field.name: field.bits for field in OPS[op].fields})
