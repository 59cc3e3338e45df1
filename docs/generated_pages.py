"""Writes the reference pages that come from code, so that none of them is written by hand."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import bitwright
from bitwright.compiler.checkpoints.registry import containers_table
from bitwright.compiler.layouts import layouts_table
from bitwright.fpga.boards.registry import BOARDS
from bitwright.fpga.commands.command_reference import command_reference
from bitwright.fpga.link import frames
from bitwright.hw.commands.elements import element_rows
from bitwright.hw.commands.machines import machine_fields
from bitwright.hw.machine import control_interface
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.architectures.families import EXAMPLES, families_table
from bitwright.models.command_line.markdown import markdown_table as table
from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES
from bitwright.models.quantization.schemes import SCHEMES

TOPS = ("models", "hw", "sim", "compiler", "fpga")


def families() -> str:
    """Return the page of model families, with the configurations that come along."""
    return ("# Model families\n\n"
            "`map` reads a checkpoint of these families. The names are those that `model_type` has "
            "in `config.json`.\n\n" + families_table().strip() + "\n"
            + "\n`map --shapes-only NAME` needs no weights for these models:\n\n"
            + table(["configuration"], [[f"`{name}`"] for name in EXAMPLES]))


def layouts() -> str:
    """Return the page of low-bit checkpoint layouts, and of the files that hold checkpoints."""
    return ("# Checkpoint layouts\n\n"
            "`map` takes the codes of these layouts as they are stored. `quant_method` in "
            "`config.json` names the layout.\n\n" + layouts_table()
            + "\n## Kinds of files\n\n" + containers_table())


def datatypes() -> str:
    """Return the page of weight datatypes, mixtures and schemes."""
    def facts(known: Any) -> Iterator[list[Any]]:
        for name, dt in known.items():
            unit = 2.0 ** dt.exponent
            yield [f"`{name}`", dt.bits, len(dt.coefs), len(dt.digits), dt.max_terms,
                   f"{dt.wmin * unit:g}", f"{dt.wmax * unit:g}"]

    heads = ["name", "bits", "planes", "digits", "terms", "least", "greatest"]
    return ("# Table of datatypes\n\n"
            "[Number formats](../formats.md) explains the columns.\n\n## Datatypes\n\n"
            + table(heads, facts(DATATYPES)) + "\n## Mixtures\n\n"
            + table(heads, facts(MIXTURES)) + "\n## Schemes\n\n"
            + table(["name", "datatype", "group size", "what it does"], (
                [f"`{name}`", f"`{scheme.datatype.name}`",
                 f"{scheme.block} only" if scheme.block else scheme.group_size or "any",
                 scheme.summary] for name, scheme in SCHEMES.items())))


def machines() -> str:
    """Return the page of machine presets and fields."""
    found = machine_fields()
    return ("# Machines\n\n"
            "A machine is a preset, or a TOML or JSON file of these fields. `--set FIELD=VALUE` "
            "changes one.\n\n## Fields\n\n"
            + table(["field", "meaning", "range", "default"], (
                [f"`{field['name']}`", field["meaning"], field["range"], f"`{field['default']}`"]
                for field in found))
            + "\n## Elements\n\nThe field `pe` chooses one. Sizes are those of the machine `tiny`. "
            "[How to add an element](../../how-to/add-an-element.md) shows another.\n\n"
            + table(["element", "weights rest as", "activations", "bits of a slice",
                     "bits of a sum", "made of"], (
                [f"`{row['name']}`", row["weights"], row["activations"], row["slice_bits"],
                 row["sum_bits"], row["summary"]] for row in element_rows()))
            + "\n## Presets\n\n"
            + table(["field", *(f"`{name}`" for name in PRESETS)], (
                [f"`{field['name']}`", *(getattr(preset, field["name"])
                                         for preset in PRESETS.values())]
                for field in found if field["name"] != "name")))


def boards() -> str:
    """Return the page of boards."""
    return ("# Table of boards\n\n[Boards](../../explanation/boards.md) has what was built for "
            "them.\n\n" + table(["board", "chip", "memory", "core clock, MHz", "machine"], (
                [f"`{name}`", board.chip, board.memory.label, f"{board.clock_mhz:g}",
                 f"`{board.preset().name}`"] for name, board in BOARDS.items())))


def registers() -> str:
    """Return the page of control registers, counters and error codes."""
    addresses = {name: value for name, value in vars(control_interface.Registers).items()
                 if not name.startswith("_") and name != "COUNTERS"}
    counters = enumerate(control_interface.COUNTER_NAMES)
    first = control_interface.Registers.COUNTERS
    return ("# Control registers\n\n"
            "All have 32 bits, behind an AXI4-Lite port. [Architecture](../../explanation/"
            "architecture.md) says what each does.\n\n"
            + table(["address", "register"], (
                [f"`{value:#04x}`", f"`{name}`"] for name, value in addresses.items()))
            + "\n## Counters\n\nCycles, modulo 2^32.\n\n"
            + table(["address", "counter"], (
                [f"`{first + 4 * index:#04x}`", f"`{name}`"] for index, name in counters))
            + "\n## Error codes\n\nBits 8…11 of STATUS.\n\n"
            + table(["code", "meaning"], control_interface.Status.codes.items()))


def link() -> str:
    """Return the page of the link's constants."""
    return ("# Constants of the link\n\n[The link](../link.md) explains them.\n\n"
            + table(["constant", "value"], (
                [f"`{name}`", f"`{value:#x}`"] for name, value in (
                    ("FLAG", frames.FLAG), ("ESCAPE", frames.ESCAPE), ("FLIP", frames.FLIP),
                    ("CRC_START", frames.CRC_START), ("VERSION", frames.VERSION),
                    ("MAX_PAYLOAD", frames.MAX_PAYLOAD))))
            + "\n## Commands\n\n"
            + table(["number", "command"], ([one.value, f"`{one.name}`"] for one in frames.Command))
            + "\n## Statuses\n\n"
            + table(["number", "status"], ([one.value, f"`{one.name}`"] for one in frames.Status)))


def interface() -> str:
    """Return the page of the Python interface, as its docstrings have it."""
    def signature(name: str, found: Any) -> str:
        if isinstance(found, type):
            return name
        parts, keyword = [], False
        for one in inspect.signature(found).parameters.values():
            if one.kind is one.KEYWORD_ONLY and not keyword:
                parts.append("*")
                keyword = True
            stars = "**" if one.kind is one.VAR_KEYWORD else ""
            short = isinstance(one.default, bool | int | str | None)
            parts.append(stars + one.name + (
                "" if one.default is one.empty else f"={one.default!r}" if short else "=…"))
        return f"{name}({', '.join(parts)})"

    def body(text: str) -> str:
        text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("``", "`")
        text = re.sub(r" *# doctest: .*", "", text)
        text = re.sub(r"(?m)^(>>> .*(?:\n.+)*)", r"```pycon\n\1\n```", text)
        text = re.sub(r"\n {4}", " ", text).replace("Parameters\n----------\n", "")
        return re.sub(r"(?m)^(\w[\w, ]*) : (.*)", r"- `\1`: \2", text)

    return ("# Python interface\n\n`import bitwright` offers these names.\n" + "".join(
        f"\n## `{name}`\n\n```python\n{signature(name, getattr(bitwright, name))}\n```\n\n"
        f"{body(inspect.getdoc(getattr(bitwright, name)) or '')}\n"
        for name in bitwright.__all__))


def errors() -> str:
    """Return the page of all exception classes."""
    rows = []
    for info in pkgutil.walk_packages(bitwright.__path__, "bitwright."):
        top, last = info.name.split(".")[1], info.name.split(".")[-1]
        if top not in TOPS or last == "__main__" or last.endswith("_test"):
            continue
        module = import_module(info.name)
        rows += [[f"`{name}`", f"`{found.__bases__[-1].__name__}`", f"`{info.name}`",
                  (inspect.getdoc(found) or "").split(". ")[0].split("\n")[0].rstrip(".")]
                 for name, found in vars(module).items()
                 if inspect.isclass(found) and issubclass(found, bitwright.Error)
                 and found is not bitwright.Error and found.__module__ == info.name]
    return ("# Errors\n\n`bitwright.Error` is the base of every exception class. Each has a "
            "built-in class as its second base, so `except ValueError` catches it as well. The "
            "message is one line. An error of the interface without a class of its own is an "
            "`ArgumentError` or a `FileError`.\n\n"
            + table(["class", "second base", "module", "raised for"], sorted(rows)))


PAGES = {"commands": command_reference, "interface": interface,
         "registers": registers, "link": link, "errors": errors, "machines": machines,
         "datatypes": datatypes, "families": families, "layouts": layouts, "boards": boards}


def write_pages(folder: Path) -> None:
    """Write every generated page into ``folder``. A page that did not change is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
