"""Chooses quantizer, datatype, group size and offsets of every layer. Layers stored in floats share
one choice; the others keep what is stored."""

from dataclasses import replace

from bitwright.compiler.ir.memory_map import MapError
from bitwright.compiler.ir.program import LinearOp, Options, Program, VerifyError
from bitwright.compiler.layouts.native_matrix import LayoutError
from bitwright.compiler.passes.session import Progress, Session
from bitwright.models.quantization.quantized_matrix import MANTISSA_BITS
from bitwright.models.quantization.schemes import Scheme, scheme

AUTO, NATIVE = "auto", "native"
_PLAIN = "int4"  # what "auto" is for weights in floats
_BESIDE_NATIVE = "int8"  # layers that a low-bit checkpoint keeps in floats, such as the head


def _weights(options: Options, session: Progress) -> str:
    """Return the name of the weights, with "auto" resolved."""
    weights = options.weights
    if not isinstance(session, Session):    # shapes alone
        if weights == NATIVE:
            raise MapError("--weights native needs a checkpoint: name a datatype")
        return _PLAIN if weights == AUTO else weights
    checkpoint = session.checkpoint
    if options.rotate and checkpoint.quantized:
        raise MapError(f"--rotate changes weights, and those of {checkpoint.path.name} are mapped "
                       "as they are: leave it out")
    if weights == AUTO:
        return NATIVE if checkpoint.quantized else _PLAIN
    if weights == NATIVE and not checkpoint.quantized:
        raise MapError(f"--weights native needs low-bit weights, and those of "
                       f"{checkpoint.path.name} are in floats: name a datatype")
    if weights != NATIVE and checkpoint.quantized:
        raise MapError(f"{checkpoint.path.name} holds {checkpoint.quantized} weights, which are "
                       f"mapped as they are and not made {weights}: leave out --weights, or map "
                       "the checkpoint in floats that it was made from")
    return weights


def _scheme(options: Options, weights: str) -> tuple[Scheme, int]:
    """The scheme for weights in floats, and its group size."""
    if not 1 <= options.scale_bits < MANTISSA_BITS:
        raise MapError(f"--scale-bits must be 1 to {MANTISSA_BITS - 1}, not {options.scale_bits}")
    try:
        found = scheme(_BESIDE_NATIVE if weights == NATIVE else weights)
        return found, found.check(options.group_size, options.asymmetric, options.scale_bits,
                                  options.clip_search)
    except ValueError as error:
        raise MapError(str(error)) from None


def run(program: Program, session: Progress) -> Program:
    """Raises :class:`MapError` for an unknown scheme, a ``.toml`` file that is none, and for
    options that do not go together; ``CheckpointError`` for tensors that are not of the
    checkpoint's layout."""
    options = program.options
    weights = _weights(options, session)
    found, size = _scheme(options, weights)
    # A file's path says nothing on another machine: its datatype's name stays.
    name = found.datatype.name if weights.endswith(".toml") else weights
    plain = found.name if weights == NATIVE else name
    layers = {linear.name: linear for linear in session.checkpoint.linears} if isinstance(
        session, Session) else {}

    def chosen(op: LinearOp) -> LinearOp:
        native = session.checkpoint.native(layers[op.name]) if isinstance(
            session, Session) else None
        if native is None:
            group_size = min(size or op.k, op.k)
            return replace(op, scheme=plain, quantizer=found, kind=found.datatype,
                           group_size=group_size, asymmetric=options.asymmetric,
                           columns=found.stored_columns(op.k, group_size))
        try:
            native = native.positive()
        except LayoutError as error:
            raise MapError(f"layer {op.name}: {error}") from None
        return replace(op, scheme=native.layout, kind=native.datatype,
                       group_size=native.group_size, asymmetric=native.offset is not None,
                       columns=None if native.columns is None else native.codes.shape[1])

    return replace(program.with_linears(chosen(op) for op in program.linears),
                   options=replace(options, weights=name))


def verify(program: Program, session: Progress) -> None:
    for op in program.linears:
        if op.kind is None or not op.scheme or not 1 <= op.group_size <= op.k:
            raise VerifyError(f"layer {op.name}: {op.scheme!r} in groups of {op.group_size}")
        if op.columns is not None and (op.columns < op.k or op.columns % op.group_size):
            raise VerifyError(f"layer {op.name}: {op.columns} columns of {op.k} features in groups "
                              f"of {op.group_size}")
