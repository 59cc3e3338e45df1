"""Chooses a machine by name, by file or by its fields."""

from pathlib import Path

from bitwright.compiler.interface.error_hierarchy import raises_error
from bitwright.hw.machine import presets
from bitwright.hw.machine.description import Machine

__all__ = ["MachineLike", "chosen_machine", "machine"]

MachineLike = Machine | str | Path


@raises_error
def machine(spec: str | Path = "ulx3s-85f", *, pe: str | None = None,
            **fields: int | str) -> Machine:
    """Return a machine description.

    Parameters
    ----------
    spec : a preset (``tiny``, ``icebreaker``, ``ulx3s-12f``, ``ulx3s-85f``), or the path of a
        ``.toml`` or ``.json`` file
    pe : kind of processing element in place of the machine's own, such as ``lut``, ``serial`` or
        ``mac``. Weight words keep their width.
    fields : fields of :class:`Machine` to change. Sizes are counts, ``*_bits`` are widths in bits.

    Raises ``MachineError`` for an unknown name or field and for sizes that do not fit together.

    >>> machine("tiny", rows=4).rows
    4
    """
    base = presets.machine(str(spec), None, pe)
    return base.replace(**fields) if fields else base


def chosen_machine(given: MachineLike) -> Machine:
    """Return ``given`` itself if it is a machine, else the machine of that name or file."""
    return given if isinstance(given, Machine) else machine(given)
