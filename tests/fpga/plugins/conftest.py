import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MAIN = "from bitwright.fpga.commands.root_command import main; main()"


@pytest.fixture
def bitwright(tmp_path):
    """``bitwright("toy_board.py", "boards", …)``: the finished process of a command of
    ``bitwright fpga``, in an empty folder."""
    def run(plugin, *arguments, status=0):
        words = ("--plugin", HERE / plugin, "fpga", *arguments)
        done = subprocess.run([sys.executable, "-c", MAIN, *map(str, words)], cwd=tmp_path,
                              capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done
    return run
