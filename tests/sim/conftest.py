"""The command line without a process of its own."""

import sys

import pytest

from sim.__main__ import main


@pytest.fixture
def command(capsys, monkeypatch):
    """``command("verify", …)``: exit status, standard output, standard error."""
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sim", *arguments])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err
    return call
