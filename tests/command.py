"""A command line without a process of its own."""

import sys

__all__ = ["call"]


def call(main, name, capture, monkeypatch, *arguments):
    """Exit status, standard output and standard error of ``main`` under ``name``; ``capture`` is
    ``capsys`` or ``capfd``."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    capture.readouterr()
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capture.readouterr()
    assert "Traceback" not in err
    return code, out, err
