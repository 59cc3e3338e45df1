"""The boards by name."""

from bitwright.fpga.boards import icebreaker, orangecrab, ulx3s
from bitwright.fpga.boards.board import Board, BoardError
from bitwright.hw.machine.clocks import set_clock
from bitwright.models.errors import UnknownNameError
from bitwright.models.plugins import Registry

__all__ = ["BOARDS", "board"]

class Boards(Registry[Board]):
    """Boards by name; registering one states the clock of its machine."""

    def register(self, item: Board) -> Board:
        super().register(item)
        set_clock(dict(item.settings).get("name", item.machine), item.clock_mhz)
        return item


BOARDS = Boards("board", (*ulx3s.BOARDS, *icebreaker.BOARDS, *orangecrab.BOARDS))


class UnknownBoardError(BoardError, UnknownNameError):
    """A board that is not registered. One line, for people."""


def board(name: str) -> Board:
    """Return the board called ``name``. Raises :class:`UnknownBoardError`."""
    if name not in BOARDS:
        raise UnknownBoardError(BOARDS.unknown(name))
    return BOARDS[name]
