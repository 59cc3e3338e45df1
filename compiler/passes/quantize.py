"""Quantizes weights, or takes them as stored; checks them and packs them into ``weights.bin``. One
layer is in memory at a time."""

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.image.file_names import WEIGHTS_FILE
from bitwright.compiler.ir.layer_inputs import turns
from bitwright.compiler.ir.memory_map import MapError
from bitwright.compiler.ir.program import LinearOp, Options, Program, VerifyError
from bitwright.compiler.layouts.native_matrix import NativeMatrix, hold
from bitwright.compiler.passes.session import Session
from bitwright.hw.packing.weight_image import pack_weights
from bitwright.models.architectures.transformer import LinearShape
from bitwright.models.inference.golden import ACCUMULATOR_MAX, accumulator_bound
from bitwright.models.quantization.groups import Groups, ScaleUnderflow, Underflow
from bitwright.models.quantization.hadamard import rotate_weight
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix, row_blocks
from bitwright.models.quantization.schemes import quantize


def check_finite(tensor: str, values: NDArray[np.floating]) -> None:
    """Raise :class:`MapError` naming the first entry that is not finite."""
    if (bad := ~np.isfinite(values)).any():
        at = np.argwhere(bad)[0].tolist()
        raise MapError(f"tensor {tensor} at {at} is {values[tuple(at)]}; weights must be finite: "
                       "the checkpoint is damaged")


def quantized(op: LinearOp, weight: NDArray[np.float32], options: Options
              ) -> tuple[QuantizedMatrix, tuple[str, ...]]:
    """Return the layer's weights as chosen, and notes on them. Raises :class:`MapError` for a scale
    that underflows, unless the options say what to do then."""
    assert op.quantizer is not None
    kind, size = op.quantizer, None if op.quantizer.block else op.group_size
    empty = np.concatenate([Groups.of(weight[part], op.group_size).absmax == 0
                            for part in row_blocks(*weight.shape)])
    notes = [f"{empty.sum()} of {empty.size} groups are all zero"] if empty.any() else []

    def attempt(underflow: Underflow) -> QuantizedMatrix:
        return quantize(weight, kind, size, op.asymmetric, options.scale_bits,
                        options.clip_search, underflow)

    try:
        qm = attempt("error")
    except ScaleUnderflow as lost:
        if not options.flush_small_scales:
            raise MapError(
                f"layer {op.name}: scale of channel {lost.channel}, group {lost.group} underflows "
                f"the mantissa, and {lost.count - 1} more do: {lost.why}; use --flush-small-scales "
                "to give such groups the least scale there is") from None
        qm = attempt("flush")
        notes.append(f"{lost.count} small scales raised to the least there is")
    return qm, tuple(notes)


def held(op: LinearOp, native: NativeMatrix, options: Options, act_bits: int
         ) -> tuple[QuantizedMatrix, tuple[str, ...]]:
    """Return the layer's weights as stored, and notes on them. Raises :class:`MapError` as
    :func:`quantized` does."""
    digit_shift = max(digit.shift for digit in op.planned.spec.digits)
    try:
        found = hold(native, act_bits, digit_shift,
                     "flush" if options.flush_small_scales else "error")
    except ScaleUnderflow as lost:
        raise MapError(
            f"layer {op.name}: scale of channel {lost.channel}, group {lost.group} is lost, and "
            f"{lost.count - 1} more are: {lost.why}; use --flush-small-scales to give such groups "
            "the least scale there is") from None
    return found.matrix, tuple(note for note in (native.note, found.note) if note)


def check_bound(op: LinearOp, qm: QuantizedMatrix, scale_bits: int, act_bits: int) -> int:
    """The greatest ``|y|`` of the layer; :class:`MapError` if 32-bit accumulators could not hold
    it."""
    bounds = accumulator_bound(qm, act_bits)
    channel = int(bounds.argmax())
    if (bound := int(bounds[channel])) > ACCUMULATOR_MAX:
        fixed = op.quantizer is not None and op.quantizer.fixed_scale
        fewer = "" if fixed else f"fewer --scale-bits (now {scale_bits}) or "
        if op.quantizer is None:
            raise MapError(f"layer {op.name}: channel {channel} can reach {bound}, and "
                           f"accumulators end at {ACCUMULATOR_MAX}: its {op.weights} values are "
                           "not for such a machine")
        raise MapError(f"layer {op.name}: channel {channel} can reach {bound}, and accumulators "
                       f"end at {ACCUMULATOR_MAX}; use {fewer}narrower weights than {op.weights}")
    return bound


def check_shape(op: LinearOp, qm: QuantizedMatrix) -> None:
    """Raise :class:`VerifyError` if the plan was made for a matrix of another shape."""
    stored = None if qm.columns is None else qm.k
    if (qm.n, qm.k_logical, stored) != (op.n, op.k, op.columns) or qm.datatype != op.kind:
        raise VerifyError(f"layer {op.name} was planned for {op.n} x {op.k} {op.weights}, "
                          f"{op.columns} columns, and quantized to {qm.n} x {qm.k_logical} "
                          f"{qm.datatype.name}, {stored} columns")


def _write(file: BinaryIO, offset: int, data: bytes) -> None:
    file.seek(offset)
    file.write(data)


def _weights(program: Program, session: Session, found: LinearShape, op: LinearOp
             ) -> tuple[QuantizedMatrix, tuple[str, ...], Callable[[slice], NDArray]]:
    """Return the layer's weights, notes on them, and rows of the values they stand for."""
    native = session.checkpoint.native(found)
    if native is not None:
        return *held(op, native, program.options, program.machine.act_bits), native.dequantize
    weight = session.checkpoint.weight(found)
    check_finite(found.tensor, weight)
    if (scale := session.input_scales.get(op.name)) is not None:
        weight = weight / scale
    if turns(program.options, op.k):
        weight = rotate_weight(weight)
    return *quantized(op, weight, program.options), weight.__getitem__


def _layer(program: Program, session: Session, found: LinearShape, op: LinearOp,
           file: BinaryIO, base: int) -> LinearOp:
    scale_bits, place = program.options.scale_bits, op.placed
    bias = session.checkpoint.bias(found)
    if bias is not None and found.bias_tensor is not None:
        check_finite(found.bias_tensor, bias)
    try:
        qm, notes, rows = _weights(program, session, found, op)
        check_shape(op, qm)
        bound = check_bound(op, qm, scale_bits, program.machine.act_bits)
        packed = pack_weights(op.planned, qm)
    except (MapError, VerifyError):
        raise
    except (ValueError, OverflowError) as error:
        raise MapError(f"layer {op.name}: {error}") from None
    _write(file, place.weights - base, packed.weights)
    _write(file, place.scales - base, packed.scales)
    _write(file, place.correction - base, packed.correction.astype("<i8").tobytes())
    _write(file, place.channel_scale - base, qm.channel_scale.astype("<f8").tobytes())
    if bias is not None and place.bias is not None:
        _write(file, place.bias - base, bias.astype("<f4").tobytes())
    if qm.columns is not None and place.columns is not None:
        _write(file, place.columns - base, qm.columns.astype("<i4").tobytes())
    quality = qm.sqnr_db(rows)
    return replace(op, accumulator_bound=bound, notes=notes,
                   sqnr_db=round(quality, 2) if np.isfinite(quality) else None)


def run(program: Program, session: Session) -> Program:
    """Raises :class:`MapError` for weights that are not finite, accumulators that could overflow,
    and scales beyond the multiplier's range."""
    where = program.memory_map
    assert where is not None
    found = {linear.name: linear for linear in session.checkpoint.linears}
    with (session.folder / WEIGHTS_FILE).open("wb") as file:
        done = [_layer(program, session, found[op.name], op, file, where.weights)
                for op in session.track(program.linears, "quantize")]
        file.truncate(where.weights_bytes)
    return program.with_linears(done)


def verify(program: Program, session: Session) -> None:
    where = program.memory_map
    size = (session.folder / WEIGHTS_FILE).stat().st_size
    if where is None or size != where.weights_bytes:
        raise VerifyError(f"{WEIGHTS_FILE} has {size} bytes")
    for op in program.linears:
        if op.accumulator_bound is None or op.accumulator_bound > ACCUMULATOR_MAX:
            raise VerifyError(f"the accumulator of layer {op.name} is not bounded")
