from functools import partial

import pytest

from bitwright.sim.__main__ import main
from tests.command import call


@pytest.fixture
def command(capsys, monkeypatch):
    """``command("verify", …)``: exit status, standard output, standard error."""
    return partial(call, main, "sim", capsys, monkeypatch)
