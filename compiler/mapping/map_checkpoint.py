"""A checkpoint to a folder that runs: the passes, from start to end."""

from collections.abc import Sequence
from pathlib import Path

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.image.host_files import write_host_files
from bitwright.compiler.image.mapped_image import write_description
from bitwright.compiler.image.staging import staged
from bitwright.compiler.ir.program import Options, Program
from bitwright.compiler.mapping.calibration import TEXT, input_scales
from bitwright.compiler.passes.pass_order import run_passes
from bitwright.compiler.passes.session import Session, Watch
from bitwright.hw.machine.description import Machine

__all__ = ["map_checkpoint"]

NOBODY = Watch()


def map_checkpoint(checkpoint: Path, out: Path, machine: Machine, options: Options, *,
                   config: Path | None = None, names: Path | None = None,
                   text: Sequence[str] = TEXT, watch: Watch = NOBODY) -> Program:
    """Map every linear layer of ``checkpoint`` and write ``out``, with what the host needs to run
    the whole model, entire or not at all.

    ``names`` is a file of :mod:`bitwright.models.architectures.tensor_name_map`. ``text`` is what
    activations are taken from where options ask for smoothing, line by line. ``watch`` shows
    progress over layers and sees the program after each pass. Raises ``ValueError`` or
    ``OSError``, of the kinds that the parts name, with a line for people.
    """
    with open_checkpoint(checkpoint, config, names) as opened, staged(out) as folder:
        scales = {} if options.smooth is None else input_scales(opened, options.smooth, text)
        session = Session(checkpoint=opened, folder=folder, track=watch.track, input_scales=scales)
        program = run_passes(Program(machine=machine, options=options), session, watch.after)
        write_host_files(opened, scales, folder)
        write_description(program, folder)
    return program
