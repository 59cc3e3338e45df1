import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MAIN = "from bitwright.fpga.commands.root_command import main; main()"


@pytest.fixture
def bitwright(tmp_path):
    """``bitwright("toy_family.py", "map", …)``: the finished process. Its folder is empty at
    first; an empty name is for no plug-in."""
    def run(plugin, *arguments, status=0):
        options = ("--plugin", HERE / plugin) if plugin else ()
        done = subprocess.run([sys.executable, "-c", MAIN, *map(str, (*options, *arguments))],
                              cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done
    return run
