"""Names the machines that come with Bitwright and reads machine files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitwright.hw.machine.description import Machine, MachineError, UnknownMachineError
from bitwright.models.errors import unknown_name


def _ulx3s(name: str, rows: int, cols: int, builders: int, **sizes: Any) -> Machine:
    return Machine(name=name, rows=rows, cols=cols, k_tile=64, builders=builders, memory_bits=16,
                   fabric="ecp5", **sizes)

PRESETS: dict[str, Machine] = {preset.name: preset for preset in (
    Machine(name="tiny"),
    Machine(name="icebreaker", rows=1, cols=1, k_tile=16, builders=1, table="mux", fabric="ice40",
            memory_bits=16, weight_depth=512, act_depth=256, scale_depth=256, psum_depth=64,
            out_depth=64, program_depth=256, queue_depth=1, outstanding=1),
    # All 56 block RAMs of the chip: two builders, for words of activations are half as wide.
    _ulx3s("ulx3s-12f", 4, 4, 2, weight_depth=512, act_depth=512, scale_depth=512, psum_depth=256,
           out_depth=256),
    _ulx3s("ulx3s-85f", 8, 8, 4, weight_depth=1024, act_depth=1024, scale_depth=1024,
           psum_depth=512, out_depth=512),
)}


def machine(spec: str, overrides: Mapping[str, str] | None = None,
            pe: str | None = None) -> Machine:
    """The machine named ``spec``: a preset, or the path of a ``.toml`` or ``.json`` file; with
    elements of kind ``pe``, see :meth:`Machine.with_pe`.

    ``overrides`` maps field names to text values, as given on a command line.
    Raises :class:`MachineError` for an unknown name, an unreadable file or a bad field.
    """
    if spec in PRESETS:
        base = PRESETS[spec]
    elif spec.endswith((".toml", ".json")):
        try:
            text = Path(spec).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MachineError(f"cannot read machine file {spec}: {error}") from None
        base = Machine.from_toml(text) if spec.endswith(".toml") else Machine.from_json(text)
    else:
        raise UnknownMachineError(unknown_name("machine", spec, PRESETS, "presets") +
                                  "; or give a .toml or .json file")
    if pe is not None:
        base = base.with_pe(pe)
    changes: dict[str, Any] = {}
    for key, value in (overrides or {}).items():
        Machine._known({key: value})
        if isinstance(getattr(base, key), int):
            try:
                changes[key] = int(value)
            except ValueError:
                raise MachineError(f"machine field {key} must be an integer, "
                                   f"not {value!r}") from None
        else:
            changes[key] = value
    return base.replace(**changes) if changes else base
