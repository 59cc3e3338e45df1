"""Quantizer, datatype, group size and offsets of every layer: today one choice for all."""

from dataclasses import replace

from compiler.graph import LinearOp, Program, VerifyError
from compiler.memory import MapError
from compiler.passes.session import Progress
from models.matrix import MANTISSA_BITS
from models.quantize import scheme


def run(program: Program, session: Progress) -> Program:
    """Raises :class:`MapError` for an unknown scheme, a ``.toml`` file that is none, and for
    options that do not go together."""
    options = program.options
    if not 1 <= options.scale_bits < MANTISSA_BITS:
        raise MapError(f"--scale-bits must be 1 to {MANTISSA_BITS - 1}, not {options.scale_bits}")
    try:
        found = scheme(options.weights)
        size = found.check(options.group_size, options.asymmetric, options.scale_bits,
                           options.clip_search)
    except ValueError as error:
        raise MapError(str(error)) from None
    # A file's path says nothing on another machine: its datatype's name stays.
    name = found.datatype.name if options.weights.endswith(".toml") else options.weights

    def chosen(op: LinearOp) -> LinearOp:
        group_size = min(size or op.k, op.k)
        return replace(op, scheme=name, quantizer=found, kind=found.datatype,
                       group_size=group_size, asymmetric=options.asymmetric,
                       columns=found.stored_columns(op.k, group_size))

    return replace(program.with_linears(chosen(op) for op in program.linears),
                   options=replace(options, weights=name))


def verify(program: Program, session: Progress) -> None:
    for op in program.linears:
        if op.kind is None or op.quantizer is None or not 1 <= op.group_size <= op.k:
            raise VerifyError(f"layer {op.name}: {op.scheme!r} in groups of {op.group_size}")
        if op.columns is not None and (op.columns < op.k or op.columns % op.group_size):
            raise VerifyError(f"layer {op.name}: {op.columns} columns of {op.k} features in groups "
                              f"of {op.group_size}")
