"""A mapped model on disk: ``manifest.json``, ``program.bin``, ``weights.bin``, ``report.json``, the
report as a page, ``report.html``, and what the host needs to run the whole model:
:data:`HOST_FILES`, the last of them optional.

The manifest says what was mapped (machine, options, shapes, codebooks of datatypes that are not
built in) and where everything lies. On reading, only what was mapped is believed: plans and places
are derived again and compared, and all files but the report are held against their SHA-256. The
same checkpoint, machine and options give the same bytes.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bitwright.compiler.html_report.page import report_page
from bitwright.compiler.image.codebook_entries import KindError, read_kinds
from bitwright.compiler.image.file_names import (
    HOST_FILES,
    MANIFEST_FILE,
    PAGE_FILE,
    PROGRAM_FILE,
    REPORT_FILE,
    WEIGHTS_FILE,
)
from bitwright.compiler.image.manifest import (
    AGAIN,
    FORMAT,
    VERSION,
    ImageError,
    description,
    difference,
    read_layer,
    read_options,
    typed,
)
from bitwright.compiler.ir.memory_map import DECODE, PREFILL, MapError, MemoryMap, allocate
from bitwright.compiler.ir.program import LinearOp, Model, Options, Program, wanted
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES, ProgramError
from bitwright.hw.machine.chip_resources import fits
from bitwright.hw.machine.description import Machine, MachineError
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.command_line.printable import show
from bitwright.models.file_formats.mapped_file import (
    CheckpointError,
    parse_json_object,
    size_of_file,
)

__all__ = ["FORMAT", "HOST_FILES", "Image", "ImageError", "MANIFEST_FILE", "PAGE_FILE",
           "REPORT_FILE", "open_image", "write_description"]

MAX_MANIFEST = 1 << 26  # bytes


# ---- writing ------------------------------------------------------------------------------
def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def report(program: Program) -> dict[str, Any]:
    """``layers`` and ``totals``, what they are for, and on which ``chips`` the machine fits."""
    return {"layers": [dict(op.row or {}) for op in program.linears],
            "totals": dict(program.totals or {}), "machine": program.machine.name,
            "pe": program.machine.pe, "tokens": program.options.tokens,
            "memory": asdict(program.options.memory), "chips": fits(program.machine)}


def write_description(program: Program, folder: Path) -> None:
    """Manifest, report and page beside the binary files that the passes wrote to ``folder``."""
    assert program.memory_map is not None
    manifest = {
        **description(program.machine, program.options, program.memory_map, program.linears),
        "model": asdict(program.model),
        "files": {name: {"bytes": (folder / name).stat().st_size,
                         "sha256": file_digest(folder / name)}
                  for name in (PROGRAM_FILE, WEIGHTS_FILE, *HOST_FILES)
                  if (folder / name).exists()},
    }
    said = report(program)
    for name, content in ((MANIFEST_FILE, manifest), (REPORT_FILE, said)):
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    subject = f"{program.model.checkpoint} ({program.model.architecture})"
    (folder / PAGE_FILE).write_text(report_page(said, program.machine, subject), encoding="utf-8")


# ---- reading ------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, repr=False)
class Image:
    """A mapped model whose files have been checked. ``files`` are the names of those that have a
    SHA-256, ``model`` says which checkpoint was mapped."""
    folder: Path
    machine: Machine
    options: Options
    memory_map: MemoryMap
    layers: Mapping[str, LinearOp]
    model: Model
    files: frozenset[str]

    def __repr__(self) -> str:
        return (f"Image({self.model.checkpoint} ({self.model.architecture}) on "
                f"{self.machine.name}: {len(self.layers)} layers, {self.options.tokens} tokens)")

    def layer(self, name: str, decode: bool = False) -> LinearOp:
        """Return the layer as its first program runs it, or as the one-token program does, with
        ``decode``."""
        if name not in self.layers:
            close = difflib.get_close_matches(name, self.layers, n=1, cutoff=0)
            raise ImageError(f"no layer of {self.folder} is named {show(name)}; the closest of "
                             f"{len(self.layers)} is {show(close[0] if close else None)}")
        op = self.layers[name]
        if not decode:
            return op
        if not self.options.decode:
            raise ImageError(f"{self.folder} holds no one-token programs: map the model with "
                             "--decode")
        return op.launched(DECODE)

    def code(self, op: LinearOp, program: str = PREFILL) -> bytes:
        """Return one of the layer's programs as stored."""
        offset, instructions = op.placed.codes[program]
        with (self.folder / PROGRAM_FILE).open("rb") as file:
            file.seek(offset)
            return file.read(instructions * INSTRUCTION_BYTES)

    def stored(self, address: int, size: int) -> bytes:
        """``size`` bytes of ``weights.bin`` from the machine's ``address``."""
        with (self.folder / WEIGHTS_FILE).open("rb") as file:
            file.seek(address - self.memory_map.weights)
            return file.read(size)


def open_image(folder: str | Path) -> Image:
    """Read and check the image in ``folder``. Raises :class:`ImageError`; nothing else is raised
    for a folder that is absent, cut short, edited, or of another version."""
    folder = Path(folder)
    path = folder / MANIFEST_FILE
    try:
        if size_of_file(path) > MAX_MANIFEST:
            raise ImageError(f"{path} is longer than {MAX_MANIFEST} bytes")
        manifest = parse_json_object(path.read_bytes(), str(path))
        return _open(folder, path, manifest)
    except (CheckpointError, OSError) as error:
        raise ImageError(f"{error}: {folder} is no mapped model; {AGAIN}") from None
    except (KindError, MachineError, PlanError, ProgramError, MapError) as error:
        raise ImageError(f"{path} describes what cannot be: {error}; {AGAIN}") from None


def _open(folder: Path, path: Path, manifest: dict[str, Any]) -> Image:
    where = str(path)
    if (manifest.get("format"), manifest.get("version")) != (FORMAT, VERSION):
        raise ImageError(f"{where} must be of format {FORMAT} version {VERSION}, not "
                         f"{show(manifest.get('format'))} {show(manifest.get('version'))}; {AGAIN}")
    machine = Machine.from_dict(typed(manifest, "machine", dict, where))
    if manifest.get("identity") != machine.identity():
        raise ImageError(f"{where}: identity {show(manifest.get('identity'))} does not belong to "
                         f"its machine, which has {machine.identity()}; {AGAIN}")
    try:
        options = read_options(typed(manifest, "options", dict, where), where)
    except ImageError:
        raise
    except ValueError as error:  # memory timing out of range
        raise ImageError(f"{where}: {error}; {AGAIN}") from None
    files = typed(manifest, "files", dict, where)
    *needed, tokenizer = HOST_FILES
    present = (PROGRAM_FILE, WEIGHTS_FILE, *needed, *[tokenizer] * (tokenizer in files))
    for name in present:
        entry = typed(files, name, dict, where)
        expected = typed(entry, "bytes", int, where)
        if (found := size_of_file(folder / name)) != expected:
            raise ImageError(f"{folder / name} must have {expected} bytes, not {found}: it is cut "
                             f"short or was replaced; {AGAIN}")
        if file_digest(folder / name) != entry.get("sha256"):
            raise ImageError(f"{folder / name} has changed since it was written (SHA-256); {AGAIN}")
    room = files[WEIGHTS_FILE]["bytes"]
    kinds = read_kinds(typed(manifest, "datatypes", dict, where))
    ops = [read_layer(machine, kinds, entry, index, options, room, where)
           for index, entry in enumerate(typed(manifest, "layers", list, where))]
    if (most := max((op.m for op in ops), default=options.tokens)) != options.tokens:
        raise ImageError(f"{where}: tokens must be {most}, those of its longest layer, not "
                         f"{options.tokens}; {AGAIN}")
    where_map, places = allocate([wanted(op) for op in ops])
    layers = tuple(replace(op, place=place) for op, place in zip(ops, places, strict=True))
    derived = description(machine, options, where_map, layers)
    given = {key: value for key, value in manifest.items() if key not in ("model", "files")}
    if text := difference(derived, given, ""):
        raise ImageError(f"{where} was edited or comes from another version: {text}; {AGAIN}")
    sizes = {PROGRAM_FILE: where_map.program_bytes, WEIGHTS_FILE: where_map.weights_bytes}
    for name, size in sizes.items():
        if files[name]["bytes"] != size:
            raise ImageError(f"{where}: {name} must have {size} bytes, not "
                             f"{files[name]['bytes']}; {AGAIN}")
    if len({op.name for op in layers}) != len(layers):
        raise ImageError(f"{where} names a layer twice; {AGAIN}")
    described_model = typed(manifest, "model", dict, where)
    model = Model(**{key: typed(described_model, key, str, where)
                     for key in ("architecture", "checkpoint", "sha256")})
    return Image(folder=folder, machine=machine, options=options, memory_map=where_map,
                 layers={op.name: op for op in layers}, model=model, files=frozenset(present))
