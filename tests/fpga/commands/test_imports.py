"""Commands import what they need and no more: listing and estimating stay quick."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PROGRAM = """
import json, sys
from bitwright.fpga.commands.root_command import main
try:
    main()
except SystemExit:
    print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments, absent", [
    (["--help"], {"numpy", "rich", "amaranth", "scipy", "matplotlib", "networkx", "tokenizers"}),
    (["hw", "--help"], {"numpy", "rich", "amaranth", "scipy"}),
    (["estimate", "--gemm", "128x4096x4096", "--weights", "mxfp4", "--json"],
     {"rich", "amaranth", "scipy", "matplotlib", "safetensors", "tokenizers", "serial"}),
    (["estimate", "--gemm", "128x4096x4096"], {"amaranth", "scipy", "matplotlib"}),
    (["formats", "--json"], {"rich", "amaranth", "scipy", "matplotlib"}),
    (["hw", "machines"], {"rich", "amaranth", "scipy"}),
])
def test_heavy_modules_are_put_off(arguments, absent):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True,
                          text=True, timeout=120)
    loaded = set(json.loads(done.stderr))
    assert done.stdout
    assert loaded & absent == set()


# Runs a folder as Python's -m does, and lists modules of the repository with two names.
TWICE = """
import json, runpy, sys
from pathlib import Path
folder = sys.argv.pop(1)
sys.path.insert(0, "")
try:
    runpy.run_module(folder, run_name="__main__", alter_sys=True)
except SystemExit:
    pass
FOLDERS = ("models", "hw", "sim", "compiler", "fpga")
names, root = {}, Path.cwd()
for name, module in [*sys.modules.items()]:
    path = Path(getattr(module, "__file__", None) or "built-in").resolve()
    ours = root in path.parents and path.relative_to(root).parts[0] in FOLDERS
    if ours and path.name not in ("__init__.py", "__main__.py"):
        names.setdefault(str(path), []).append(name)
print(json.dumps({"twice": [found for found in names.values() if len(found) > 1],
                  "packages": sorted(name for name in sys.modules if name == folder)}),
      file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [
    ("compiler", "map", "--shapes-only", "llama-2-7b", "--json"),
    ("sim", "estimate", "--gemm", "8x64x8", "--json"), ("models", "formats", "--json"),
    ("hw", "machines", "--json"), ("fpga", "boards", "--json")], ids=lambda words: words[0])
def test_no_module_is_loaded_under_two_names(arguments):
    done = subprocess.run([sys.executable, "-c", TWICE, *arguments], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)
    found = json.loads(done.stderr.splitlines()[-1])
    assert json.loads(done.stdout)
    assert found == {"twice": [], "packages": [arguments[0]]}
