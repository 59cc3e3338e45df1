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

from compiler.graph import LinearOp, Model, Options, Program
from compiler.kinds import KindError, describe_kinds, read_kinds
from compiler.memory import MapError, MemoryMap, allocate
from compiler.page import report_page
from compiler.passes.allocate import wanted
from compiler.passes.session import PROGRAM_FILE, WEIGHTS_FILE
from compiler.passes.tile import SCHEDULES, plan_layer
from compiler.safetensors_file import CheckpointError, parse_json_object, show, size_of_file
from compiler.tilings import plan_fields
from hw.config import Machine, MachineError
from hw.isa import INSTRUCTION_BYTES, ProgramError
from hw.plan import PlanError
from hw.resources import fits
from models.formats import Datatype, Mixture
from sim.memory import Memory

__all__ = ["FORMAT", "HOST_FILES", "Image", "ImageError", "MANIFEST_FILE", "PAGE_FILE",
           "REPORT_FILE", "open_image", "write_description"]

FORMAT, VERSION = "bitwright-image", 3
MANIFEST_FILE, REPORT_FILE = "manifest.json", "report.json"
HOST_FILES = ("host.safetensors", "config.json", "tokenizer.json")
PAGE_FILE = "report.html"
MAX_MANIFEST = 1 << 26  # bytes
MAX_TOKENS = 1 << 20
AGAIN = "map the model again"


class ImageError(ValueError):
    """A folder that holds no usable image. One line, for people."""


# ---- writing ------------------------------------------------------------------------------
def layer_entry(op: LinearOp, base: int) -> dict[str, Any]:
    """The manifest's entry of a placed layer; ``base`` is the address of ``weights.bin``."""
    plan, place = op.planned, op.placed
    return {
        "name": op.name, "tensor": op.tensor, "bias_tensor": op.bias_tensor, "role": op.role,
        "m": op.m, "k": op.k, "n": op.n, "columns": op.columns, "scheme": op.scheme,
        "datatype": op.chosen.name, "group_size": op.group_size, "asymmetric": op.asymmetric,
        "plan": {"row_mode": plan.row_mode, **plan_fields(plan), "k_tiles": plan.k_tiles,
                 "n_padded": plan.n_padded},
        "program": {"offset": place.program, "instructions": place.instructions},
        "addresses": {"weights": place.weights, "scales": place.scales, "acts": place.acts,
                      "outputs": place.outputs},
        "offsets": {"weights": place.weights - base, "scales": place.scales - base,
                    "correction": place.correction - base,
                    "channel_scale": place.channel_scale - base,
                    "bias": None if place.bias is None else place.bias - base,
                    "columns": None if place.columns is None else place.columns - base},
        "bytes": {"weights": plan.stored_bytes, "scales": plan.scale_bytes,
                  "acts": plan.act_bytes, "outputs": plan.out_bytes},
    }


def _described(machine: Machine, options: Options, where: MemoryMap,
               layers: tuple[LinearOp, ...]) -> dict[str, Any]:
    """The part of the manifest that reading derives again."""
    return {"format": FORMAT, "version": VERSION, "machine": machine.to_dict(),
            "identity": machine.identity(), "options": asdict(options), "memory": asdict(where),
            "datatypes": describe_kinds(op.chosen for op in layers),
            "layers": [layer_entry(op, where.weights) for op in layers]}


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
        **_described(program.machine, program.options, program.memory_map, program.linears),
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
@dataclass(frozen=True, kw_only=True)
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

    def layer(self, name: str) -> LinearOp:
        if name not in self.layers:
            close = difflib.get_close_matches(name, self.layers, n=1, cutoff=0)
            raise ImageError(f"no layer of {self.folder} is named {show(name)}; the closest of "
                             f"{len(self.layers)} is {show(close[0] if close else None)}")
        return self.layers[name]

    def code(self, op: LinearOp) -> bytes:
        """The layer's program as stored."""
        with (self.folder / PROGRAM_FILE).open("rb") as file:
            file.seek(op.placed.program)
            return file.read(op.placed.instructions * INSTRUCTION_BYTES)

    def stored(self, address: int, size: int) -> bytes:
        """``size`` bytes of ``weights.bin`` from the machine's ``address``."""
        with (self.folder / WEIGHTS_FILE).open("rb") as file:
            file.seek(address - self.memory_map.weights)
            return file.read(size)


def _value(entry: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = entry.get(key)
    if type(value) is not kind:
        kinds = {int: "an integer", str: "text", bool: "true or false", dict: "an object",
                  list: "a list", float: "a number"}
        raise ImageError(f"{where}: {key} must be {kinds[kind]}, not {show(value)}; {AGAIN}")
    return value


def _difference(expected: Any, found: Any, where: str) -> str | None:
    """Where two JSON values first differ, in words."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            if key not in expected:
                return f"{where}{key} is not known"
            if key not in found:
                return f"{where}{key} is missing"
            if text := _difference(expected[key], found[key], f"{where}{key}."):
                return text
        return None
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return next((text for index, pair in enumerate(zip(expected, found, strict=True))
                     if (text := _difference(*pair, f"{where}{index}."))), None)
    if type(expected) is type(found) and expected == found:
        return None
    return f"{where.rstrip('.')} is {show(found)}, which should be {show(expected)}"


def _optional(entry: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    return None if entry.get(key) is None else _value(entry, key, kind, where)


def _layer(machine: Machine, kinds: Mapping[str, Datatype | Mixture], entry: Any, index: int,
           options: Options, room: int, where: str) -> LinearOp:
    """An entry's layer, planned anew, or by its plan where a solver found that. ``room`` bounds
    its size before any planning."""
    tokens = options.tokens
    if not isinstance(entry, dict):
        raise ImageError(f"{where}: layers must be objects, not {show(entry)}; {AGAIN}")
    where = f"{where}: layer {index}"
    name = _value(entry, "datatype", str, where)
    if name not in kinds:
        raise ImageError(f"{where}: datatype {show(name)} is unknown; {AGAIN}")
    op = LinearOp(
        kind=kinds[name], bias_tensor=_optional(entry, "bias_tensor", str, where),
        columns=_optional(entry, "columns", int, where),
        **{key: _value(entry, key, str, where) for key in ("name", "tensor", "role", "scheme")},
        **{key: _value(entry, key, int, where) for key in ("m", "k", "n", "group_size")},
        asymmetric=_value(entry, "asymmetric", bool, where))
    if not 1 <= op.m <= tokens or min(op.k, op.n) < 1 or not 1 <= op.group_size <= op.k:
        raise ImageError(f"{where}: shape {op.m}x{op.k}x{op.n} in groups of {op.group_size} is "
                         f"not one that was mapped for {tokens} tokens; {AGAIN}")
    if op.columns is not None and (op.columns < op.k or op.columns % op.group_size):
        raise ImageError(f"{where}: {op.columns} columns of {op.k} features in groups of "
                         f"{op.group_size} are not what was mapped; {AGAIN}")
    if op.stored_k * op.n > room * 8:  # no form has less than a bit per weight
        raise ImageError(f"{where}: {op.stored_k}x{op.n} weights of {name} are more than "
                         f"{WEIGHTS_FILE} holds; {AGAIN}")
    return replace(op, plan=plan_layer(machine, op, options.schedule,
                                       _value(entry, "plan", dict, where)))


def _options(values: Mapping[str, Any], where: str) -> Options:
    memory = _value(values, "memory", dict, where)
    tokens = _value(values, "tokens", int, where)
    if not 1 <= tokens <= MAX_TOKENS:
        raise ImageError(f"{where}: tokens must be 1 to {MAX_TOKENS}, not {tokens}; {AGAIN}")
    schedule = _value(values, "schedule", str, where)
    if schedule not in SCHEDULES:
        raise ImageError(f"{where}: schedule must be one of {', '.join(SCHEDULES)}, not "
                         f"{show(schedule)}; {AGAIN}")
    return Options(
        weights=_value(values, "weights", str, where), tokens=tokens, schedule=schedule,
        group_size=_optional(values, "group_size", int, where),
        smooth=_optional(values, "smooth", float, where),
        scale_bits=_value(values, "scale_bits", int, where),
        **{key: _value(values, key, bool, where)
           for key in ("asymmetric", "clip_search", "flush_small_scales", "rotate")},
        memory=Memory(latency=_value(memory, "latency", int, where),
                      interval=_value(memory, "interval", int, where)))


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
    machine = Machine.from_dict(_value(manifest, "machine", dict, where))
    if manifest.get("identity") != machine.identity():
        raise ImageError(f"{where}: identity {show(manifest.get('identity'))} does not belong to "
                         f"its machine, which has {machine.identity()}; {AGAIN}")
    try:
        options = _options(_value(manifest, "options", dict, where), where)
    except ImageError:
        raise
    except ValueError as error:  # memory timing out of range
        raise ImageError(f"{where}: {error}; {AGAIN}") from None
    files = _value(manifest, "files", dict, where)
    *needed, tokenizer = HOST_FILES
    present = (PROGRAM_FILE, WEIGHTS_FILE, *needed, *[tokenizer] * (tokenizer in files))
    for name in present:
        entry = _value(files, name, dict, where)
        expected = _value(entry, "bytes", int, where)
        if (found := size_of_file(folder / name)) != expected:
            raise ImageError(f"{folder / name} must have {expected} bytes, not {found}: it is cut "
                             f"short or was replaced; {AGAIN}")
        if file_digest(folder / name) != entry.get("sha256"):
            raise ImageError(f"{folder / name} has changed since it was written (SHA-256); {AGAIN}")
    room = files[WEIGHTS_FILE]["bytes"]
    kinds = read_kinds(_value(manifest, "datatypes", dict, where))
    ops = [_layer(machine, kinds, entry, index, options, room, where)
           for index, entry in enumerate(_value(manifest, "layers", list, where))]
    if (most := max((op.m for op in ops), default=options.tokens)) != options.tokens:
        raise ImageError(f"{where}: tokens must be {most}, those of its longest layer, not "
                         f"{options.tokens}; {AGAIN}")
    where_map, places = allocate([wanted(op) for op in ops])
    layers = tuple(replace(op, place=place) for op, place in zip(ops, places, strict=True))
    described = _described(machine, options, where_map, layers)
    given = {key: value for key, value in manifest.items() if key not in ("model", "files")}
    if text := _difference(described, given, ""):
        raise ImageError(f"{where} was edited or comes from another version: {text}; {AGAIN}")
    sizes = {PROGRAM_FILE: where_map.program_bytes, WEIGHTS_FILE: where_map.weights_bytes}
    for name, size in sizes.items():
        if files[name]["bytes"] != size:
            raise ImageError(f"{where}: {name} must have {size} bytes, not "
                             f"{files[name]['bytes']}; {AGAIN}")
    if len({op.name for op in layers}) != len(layers):
        raise ImageError(f"{where} names a layer twice; {AGAIN}")
    described_model = _value(manifest, "model", dict, where)
    model = Model(**{key: _value(described_model, key, str, where)
                     for key in ("architecture", "checkpoint", "sha256")})
    return Image(folder=folder, machine=machine, options=options, memory_map=where_map,
                 layers={op.name: op for op in layers}, model=model, files=frozenset(present))
