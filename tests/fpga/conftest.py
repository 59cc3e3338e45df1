"""The command line in this process."""

from functools import partial

import pytest

from bitwright.fpga.__main__ import main
from tests import command as command_line


@pytest.fixture
def command(capfd, monkeypatch):
    """``command("run", …)``: exit status, standard output, standard error."""
    return partial(command_line.call, main, "fpga", capfd, monkeypatch)
