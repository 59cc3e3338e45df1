"""Weight datatype, group size and offsets of every layer: today one choice for all."""

from dataclasses import replace

from compiler.graph import Program, VerifyError
from compiler.memory import MapError
from compiler.passes.session import Session
from models.formats import DATATYPES, datatype
from models.matrix import MANTISSA_BITS


def run(program: Program, session: Session) -> Program:
    """Raises ``ValueError`` for an unknown datatype, and :class:`MapError` for one that has no
    asymmetric form or for scale bits out of range."""
    options = program.options
    kind = datatype(options.weights)
    if options.asymmetric and kind.wmax - kind.wmin != (1 << kind.bits) - 1:
        raise MapError(f"--asymmetric needs int2 to int8, not {kind.name}")
    if not 1 <= options.scale_bits < MANTISSA_BITS:
        raise MapError(f"--scale-bits must be 1 to {MANTISSA_BITS - 1}, not {options.scale_bits}")
    return program.with_linears(
        replace(op, datatype=kind.name, group_size=min(options.group_size or op.k, op.k),
                asymmetric=options.asymmetric)
        for op in program.linears)


def verify(program: Program, session: Session) -> None:
    for op in program.linears:
        if op.datatype not in DATATYPES or not 1 <= op.group_size <= op.k:
            raise VerifyError(f"layer {op.name}: {op.datatype!r} in groups of {op.group_size}")
