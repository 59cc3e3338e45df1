"""The wheel, installed in an environment of its own, beside a user's folders of the same names."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import bitwright
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.runtime.run_layer import execute, random_activations
from bitwright.hw.machine.presets import PRESETS
from tests.compiler.tiny import QUERY, bert_tensors, write_checkpoint

ROOT = Path(bitwright.__file__).parent
TOPS = ("models", "hw", "sim", "compiler", "fpga")
LEFT_OUT = {"__pycache__"}


def run(*command, cwd, environment=None):
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of a copy of the sources, so that nothing is written beside them."""
    source, out = tmp_path_factory.mktemp("source") / "bitwright", tmp_path_factory.mktemp("wheel")
    source.mkdir()
    for name in (*TOPS, "__init__.py", "py.typed", "pyproject.toml", "LICENSE"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            shutil.copy(path, source / name)
    run(sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index",
        "--quiet", "--wheel-dir", out, ".", cwd=source)
    found, = out.glob("bitwright-*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """The ``bin`` of an environment with the wheel; its dependencies are those of the tests."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
        "--quiet", wheel, cwd=home)
    site, = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


@pytest.fixture(scope="session")
def users_folder(tmp_path_factory):
    """A user's project whose packages have the names of this repository's folders."""
    folder = tmp_path_factory.mktemp("project")
    for name in TOPS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"OWNER = 'user of {name}'\n")
    return folder


@pytest.fixture(scope="session")
def environment(installed):
    """Variables without the repository; the tools' programs are found on the path."""
    tools = sysconfig.get_path("scripts")
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PATH": os.pathsep.join([str(installed), tools, os.environ["PATH"]])}


@pytest.fixture
def command(installed, users_folder, environment):
    """``command("map", …)``: what the installed ``bitwright`` prints in the user's folder."""
    def call(*arguments):
        return run(installed / "bitwright", *arguments, cwd=users_folder, environment=environment)

    return call


@pytest.fixture(scope="session")
def image(installed, users_folder, environment):
    checkpoint = write_checkpoint(users_folder / "checkpoint", bert_tensors())
    run(installed / "bitwright", "map", checkpoint, "--machine", "tiny", "--tokens", 5,
        "--group-size", 16, "--out", "mapped", cwd=users_folder, environment=environment)
    return users_folder / "mapped"


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"bitwright/{path.relative_to(ROOT)}" for top in TOPS
                for path in (ROOT / top).rglob("*")
                if path.is_file() and not LEFT_OUT & {*path.parts}}
    assert len(expected) > 300
    assert expected - names == set()
    packages = {name for name in names if name.startswith("bitwright/")}
    assert packages - expected == {"bitwright/__init__.py", "bitwright/py.typed"}
    assert {name.split("/")[0] for name in names} == {"bitwright", next(
        name.split("/")[0] for name in names if ".dist-info/" in name)}


def test_the_installed_package_is_the_one_that_runs(installed, users_folder, environment):
    said = run(installed / "python", "-c", "import bitwright; print(bitwright.__file__)",
               cwd=users_folder, environment=environment)
    assert Path(said.strip()).is_relative_to(installed.parent)


def test_a_users_packages_keep_their_names(installed, users_folder, environment):
    """Neither side hides the other, whichever is imported first."""
    script = ("import {first}; import {second}; import bitwright; import bitwright.hw.machine;"
              "bitwright.machine('tiny');"
              + "".join(f"import {top}; assert {top}.OWNER == 'user of {top}';" for top in TOPS)
              + "import sys; print(*sorted(n for n in sys.modules if n.split('.')[0] in "
              f"{TOPS}))")
    for first, second in (("bitwright", "hw"), ("hw", "bitwright")):
        said = run(installed / "python", "-c", script.format(first=first, second=second),
                   cwd=users_folder, environment=environment)
        assert said.split() == sorted(TOPS)


def test_version(command):
    assert command("--version") == "bitwright 0.1.0\n"


def test_map_gives_the_bytes_of_the_repository(image, users_folder, tmp_path):
    mapped = tmp_path / "mapped"
    map_checkpoint(users_folder / "checkpoint" / "model.safetensors", mapped, PRESETS["tiny"],
                   Options(weights="auto", tokens=5, group_size=16))
    for name in ("program.bin", "weights.bin", "manifest.json", "report.json", "report.html"):
        assert (image / name).read_bytes() == (mapped / name).read_bytes(), name


def test_a_layer_runs_on_the_golden_model(command, image):
    found = json.loads(command("run", image, "--layer", QUERY, "--backend", "golden", "--json"))
    assert found["mismatches"] == 0
    opened = bitwright.load_image(image)
    op = opened.layer(QUERY)
    assert found["sha256"] == execute(opened, op, "golden", random_activations(op, 0)).sha256


def test_a_layer_runs_on_the_rtl(command, image):
    found = json.loads(command("run", image, "--layer", QUERY, "--backend", "rtl", "--json"))
    assert found["mismatches"] == 0 and found["cycles"] == found["model_cycles"]


def test_verilog_is_exported(command, users_folder):
    command("hw", "verilog", "--machine", "tiny", "--out", "core.v")
    assert "module bitwright" in (users_folder / "core.v").read_text()


def test_models_and_machines_come_with_the_package(command):
    assert "ulx3s-85f" in command("hw", "machines")
    cost = json.loads(command("estimate", "--gemm", "16x64x64", "--machine", "tiny", "--json"))
    assert cost["cycles"] == bitwright.estimate("16x64x64", "tiny").cycles
    report = json.loads(command("map", "--shapes-only", "opt-125m", "--tokens", 4, "--json"))
    assert report["totals"]["layers"] == 73


@pytest.mark.slow
def test_a_bitstream_is_built(command, users_folder):
    """The same bitstream as on record; the stages of :mod:`tests.fpga` are in the cache."""
    found = json.loads(command("build", "--board", "icebreaker", "--out", "built", "--json"))
    record = json.loads((ROOT / "fpga" / "results" / "icebreaker.json").read_text())
    assert found["sha256"] == record["sha256"]
    assert (users_folder / "built").is_dir()
