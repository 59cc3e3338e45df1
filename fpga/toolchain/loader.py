"""Loading a bitstream into a board, with the loaders that people have."""

import shutil
import subprocess
from pathlib import Path

from bitwright.fpga.boards.board import Board, BoardError

__all__ = ["bitstream_in", "program"]


def bitstream_in(folder: Path, board: Board) -> Path:
    """The bitstream that ``build`` left in ``folder``. Raises :class:`BoardError`."""
    path = folder / f"top.{board.chip_family.suffix}"
    if not path.is_file():
        raise BoardError(f"{folder} holds no {path.name}; build it with python -m fpga build "
                         f"--board {board.name} --out {folder}")
    return path


def program(board: Board, folder: Path) -> list[str]:
    """Load the bitstream in ``folder`` with the first loader that is installed; returns the
    command that did it. Raises :class:`BoardError`."""
    bitstream = bitstream_in(folder, board)
    for loader in board.loaders:
        if found := shutil.which(loader[0]):
            command = [found, *loader[1:], str(bitstream)]
            done = subprocess.run(command, text=True, capture_output=True)
            if done.returncode:
                said = (done.stderr.strip() or done.stdout.strip()).splitlines()
                raise BoardError(f"{loader[0]} failed: {said[-1] if said else 'no message'}; is "
                                 f"{board.name} connected and switched on?")
            return [loader[0], *command[1:]]
    names = " nor ".join(loader[0] for loader in board.loaders)
    raise BoardError(f"neither {names} was found: install {board.loaders[0][0]} (packaged by most "
                     f"Linux distributions and Homebrew), then: {' '.join(board.loaders[0])} "
                     f"{bitstream}")
