"""Checkpoints written byte by byte, from the layouts' definitions and by nothing of the readers."""

import json
import struct

import numpy as np

from bitwright.compiler.file_formats.safetensors import SafetensorsFile
from bitwright.compiler.layouts import layout_of
from bitwright.compiler.layouts.native_matrix import hold

SIZES = {"I32": "i", "I64": "q", "I8": "b", "U8": "B", "F8_E4M3": "B", "F8_E8M0": "B", "F16": "e",
         "F32": "f"}


def encoded(dtype, values):
    """Bytes of a nested list or array, row-major."""
    flat = np.asarray(values).reshape(-1).tolist()
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in flat)
    if dtype == "I32":  # given as unsigned words
        flat = [value - (1 << 32) if value >= 1 << 31 else value for value in flat]
    return struct.pack(f"<{len(flat)}{SIZES[dtype]}", *flat)


def write_safetensors(path, tensors):
    """``tensors`` maps a name to dtype and values."""
    header, data = {}, b""
    for name, (dtype, values) in tensors.items():
        raw = encoded(dtype, values)
        header[name] = {"dtype": dtype, "shape": list(np.asarray(values).shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def read(tmp_path, config, tensors, n, k, module="m"):
    """The layer of a checkpoint of these tensors."""
    path = write_safetensors(tmp_path / "model.safetensors", tensors)
    layout = layout_of({"quantization_config": config})
    with SafetensorsFile(path) as file:
        assert layout.holds(file, module)
        found = layout.read(file, module, n, k)
        assert layout.parts(file, module) == set(tensors)
    return found


def stream(values, bits):
    """Words of a dense stream, least significant bit first, one bit at a time."""
    count = -(-len(values) * bits // 32)
    words = [0] * count
    for index, value in enumerate(values):
        for bit in range(bits):
            place = index * bits + bit
            words[place // 32] |= (value >> bit & 1) << place % 32
    return words


def check_held(native, exact=True, error=2.0**-9):
    """The held matrix has the codes as read, and is what was read: to the bit, or nearly."""
    held = hold(native)
    assert held.matrix.datatype == native.datatype
    want, found = native.dequantize(), held.matrix.dequantize()
    if exact:
        assert held.scale_error == held.offset_error == 0 and held.note == ""
        assert (found == want).all()
        return held
    worst = max(held.scale_error, held.offset_error)
    assert worst <= error and bool(worst) == bool(held.note)
    step = np.abs(native.scale).max() * native.factors.max()
    reach = max(native.datatype.max_abs * 2.0**native.datatype.exponent, 1)
    assert np.abs(found - want).max() <= 2 * error * step * reach
    return held
