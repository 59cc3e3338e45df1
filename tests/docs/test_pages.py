"""Checks what the pages say: links, commands, code blocks, and the folders of stated changes."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitwright.fpga.commands.root_command import BITWRIGHT
from bitwright.models.command_line.command_table import Command, Group
from bitwright.models.command_line.program import as_typer, plugin_files

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
               if "generated" not in path.parts)
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
COMMANDS = dict(BITWRIGHT.commands())
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
GROUPS = {entry.name for entry in BITWRIGHT.entries if isinstance(entry, Group)}
COMMON = {"--plugin", "--help", "-h", "--version"}
FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: the words behind the fence, and the text."""
    words: tuple[str, ...]
    text: str

    @property
    def runs(self) -> bool:
        return self.words[:1] == ("python",) or self.words == ("sh", "run")

    @property
    def file(self) -> str:
        """The name that a first line such as ``# mine.toml`` gives."""
        found = re.match(r"# ([\w-]+\.\w+)\n", self.text)
        return found[1] if found and not self.runs else ""


def blocks(page: Path) -> list[Block]:
    return [Block(tuple(head.split()), text)
            for head, text in FENCE.findall(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> list[str]:
    """Return the commands that the page shows, in blocks and in the text."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in blocks(page) if block.words[:1] in (("sh",), ("console",))
             for line in block.text.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", FENCE.sub("", text))
    return [re.sub(r"^\$ ", "", line).strip() for line in (*lines, *spans)
            if re.match(r"(\$ )?(bitwright|make|python -m (compiler|sim|models|hw|fpga)) ",
                        line.strip())]


def find(words: list[str]) -> tuple[Command, list[str]]:
    """Return the command that the words choose, and the words left."""
    if words[:2] == ["python", "-m"]:
        words = words[3:] if words[2] == "compiler" else words[2:]
    else:
        words = plugin_files(words[1:])[1]
    for length in (2, 1):
        if found := COMMANDS.get(tuple(words[:length])):
            return found, words[length:]
    raise AssertionError(f"no such command: {' '.join(words)}")


def wrong(line: str) -> list[str]:
    """Return the options of a shown command that do not exist."""
    words = shlex.split(re.sub(r"[\[\]|…“”]|\.\.\.", " ", line), comments=True)
    if words[0] == "make":
        return [word for word in words[1:2] if word not in TARGETS]
    if len(words) == 2 and words[1] in {"--help", "--version", *GROUPS}:
        return []
    command, rest = find(words)
    known = {option for one in as_typer(command).params
             for option in (*one.opts, *one.secondary_opts)} | COMMON
    return [word for word in rest
            if word.startswith("-") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shown_exists(name):
    unknown = {line: found for line in commands(ROOT / name) if (found := wrong(line))}
    assert not unknown


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file(name):
    page = ROOT / name
    targets = re.findall(r"\]\(([^)#\s]+)", FENCE.sub("", page.read_text(encoding="utf-8")))
    missing = [target for target in targets if "://" not in target and "generated/" not in target
               and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("name", [name for name, page in zip(NAMES, PAGES, strict=True)
                                  if any(block.runs for block in blocks(page))])
def test_the_code_of_a_page_runs(name, tmp_path):
    """Blocks of a page run in their order, in one folder; Python blocks share their names."""
    names: list[str] = []
    for block in blocks(ROOT / name):
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.words[:1] == ("python",):
            names.append(block.text)
        elif block.runs:
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    assert words[0] == "bitwright", "only bitwright's commands are run"
                    words = [sys.executable, "-c",
                             "from bitwright.fpga.commands.root_command import main; main()",
                             *words[1:]]
                    run(words, tmp_path)
    if names:
        run([sys.executable, "-c", "\n".join(names)], tmp_path)


@pytest.mark.parametrize("name", [name for name, page in zip(NAMES, PAGES, strict=True)
                                  if any(block.words == ("py",) for block in blocks(page))])
def test_code_taken_from_tests_stands_there(name):
    """A block marked ``py`` is part of a file that tests run."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    for block in blocks(ROOT / name):
        if block.words == ("py",):
            assert any(block.text.strip("\n") in source for source in sources), block.text


def run(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def stated_changes() -> dict[str, tuple[str, str]]:
    """Return folder and first file of each change that the page on contributing states."""
    text = (ROOT / "docs/contributing/index.md").read_text(encoding="utf-8")
    rows = text.split("## Ten changes")[1].split("\n## ")[0]
    return {change: (folder, file) for change, folder, file in re.findall(
        r"^\| ([^|]+?) \| `([^`]+)` \| `([^`]+)` \|", rows, re.M)}


def test_ten_changes_are_stated_and_the_readme_lists_each_folder():
    changes = stated_changes()
    assert len(changes) == 10
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for folder, file in changes.values():
        assert (ROOT / folder / "__init__.py").is_file() and (ROOT / folder / file).is_file()
        assert f"`{folder}/`" in readme, folder


def test_the_readme_lists_every_folder_of_code():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for top in ("models", "hw", "sim", "compiler", "fpga"):
        rooms = {file.parent for file in (ROOT / top).rglob("*.py")
                 if file.name not in ("__init__.py", "__main__.py")}
        for room in rooms - {ROOT / top}:
            shown = [f"`{folder.relative_to(ROOT)}/`" for folder in (room, room.parent)
                     if folder.parent != ROOT]
            assert any(name in readme for name in shown), room


def test_the_reference_is_written_from_code(tmp_path):
    code = ("import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); "
            "from generated_pages import write_pages; write_pages(Path(sys.argv[2]))")
    run([sys.executable, "-c", code, str(ROOT / "docs"), str(tmp_path / "pages")], tmp_path)
    text = (tmp_path / "pages/commands.md").read_text(encoding="utf-8")
    for path in COMMANDS:
        assert f"# bitwright {' '.join(path)}\n" in text
    assert "`memory_bits`" in (tmp_path / "pages/machines.md").read_text(encoding="utf-8")
    assert "`bitmod4`" in (tmp_path / "pages/datatypes.md").read_text(encoding="utf-8")
    assert "`mixtral`" in (tmp_path / "pages/families.md").read_text(encoding="utf-8")
    assert "`CheckpointError`" in (tmp_path / "pages/errors.md").read_text(encoding="utf-8")
    assert "`gptq`" in (tmp_path / "pages/layouts.md").read_text(encoding="utf-8")
