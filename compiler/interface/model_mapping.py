"""Maps a checkpoint to a machine and loads the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from bitwright.compiler.image.mapped_image import Image, open_image
from bitwright.compiler.interface.checkpoint_reading import ModelCheckpoint
from bitwright.compiler.interface.error_hierarchy import raises_error
from bitwright.compiler.interface.machine_choice import MachineLike, chosen_machine
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.calibration import TEXT
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.sim.cycle_model.memory_timing import Memory

__all__ = ["MapOptions", "load_image", "map_model"]


class MapOptions(TypedDict, total=False):
    """The options of :func:`map_model`; those left out are as in ``bitwright map``."""
    weights: str
    group_size: int | None
    asymmetric: bool
    scale_bits: int
    clip_search: bool
    flush_small_scales: bool
    rotate: bool
    smooth: float | None
    tokens: int
    memory: Memory
    schedule: str
    decode: bool


@raises_error
def map_model(checkpoint: str | Path | ModelCheckpoint, out: str | Path,
              machine: MachineLike = "ulx3s-85f", *, config: str | Path | None = None,
              names: str | Path | None = None, text: Sequence[str] = TEXT,
              **options: Unpack[MapOptions]) -> Image:
    """Map every linear layer of a checkpoint and write the image to the folder ``out``.

    Parameters
    ----------
    checkpoint : a path as for :func:`read_checkpoint`, or what that returned
    out : folder to write, whole or not at all
    machine : a machine, a preset's name, or a ``.toml`` or ``.json`` file
    config, names : as for :func:`read_checkpoint`, of a checkpoint given by its path
    text : lines that the float model reads to find outliers, for ``smooth``
    options : fields of :class:`MapOptions`: ``weights`` a datatype or scheme ("auto": the stored
        codes of a low-bit checkpoint, or int4), ``group_size`` in input features, ``tokens`` per
        launch, ``decode`` for one-token programs too, and so on

    Raises ``CheckpointError`` for an unusable checkpoint and ``MapError`` or ``PlanError`` for a
    model that the machine cannot run as asked.

    >>> image = map_model("model.safetensors", "mapped", "tiny", tokens=5)    # doctest: +SKIP
    """
    if isinstance(checkpoint, ModelCheckpoint):
        checkpoint = checkpoint.path
    asked: MapOptions = {"weights": "auto", **options}
    map_checkpoint(Path(checkpoint), Path(out), chosen_machine(machine), Options(**asked),
                   config=None if config is None else Path(config),
                   names=None if names is None else Path(names), text=text)
    return open_image(out)


@raises_error
def load_image(folder: str | Path) -> Image:
    """Read and check the image that :func:`map_model` or ``bitwright map`` wrote to ``folder``.

    Every file is held against its SHA-256. ``layers`` of the result maps each layer's name to its
    shape, datatype, plan and place. Raises ``ImageError`` for a folder that is absent, cut short,
    edited, or of another version.

    >>> list(load_image("mapped").layers)    # doctest: +SKIP
    """
    return open_image(folder)
