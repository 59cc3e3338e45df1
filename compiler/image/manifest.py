"""``manifest.json``: what was mapped, and where everything lies. It is written from the layers; on
reading they are derived from it again, and it is compared with what they give."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from bitwright.compiler.image.codebook_entries import describe_kinds
from bitwright.compiler.image.file_names import WEIGHTS_FILE
from bitwright.compiler.ir.memory_map import PREFILL, MemoryMap
from bitwright.compiler.ir.program import LinearOp, Options
from bitwright.compiler.scheduling.ilp_tiling import plan_fields
from bitwright.compiler.scheduling.layer_plan import SCHEDULES, plans_of
from bitwright.hw.machine.description import Machine
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.models.command_line.printable import show
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.errors import Error
from bitwright.sim.cycle_model.memory_timing import Memory

__all__ = ["AGAIN", "FORMAT", "VERSION", "ImageError", "description", "difference", "read_layer",
           "read_options", "typed"]

FORMAT, VERSION = "bitwright-image", 4
MAX_TOKENS = 1 << 20
AGAIN = "map the model again"


class ImageError(Error, ValueError):
    """A folder that holds no usable image. One line, for people."""


# ---- writing ------------------------------------------------------------------------------
def plan_entry(plan: Plan) -> dict[str, Any]:
    return {"row_mode": plan.row_mode, **plan_fields(plan), "k_tiles": plan.k_tiles,
            "n_padded": plan.n_padded}


def layer_entry(op: LinearOp, base: int) -> dict[str, Any]:
    """The manifest's entry of a placed layer; ``base`` is the address of ``weights.bin``."""
    plan, place = op.planned, op.placed
    programs = {name: {"offset": code.offset, "instructions": code.instructions}
                for name, code in place.codes.items()}
    return {
        "name": op.name, "tensor": op.tensor, "bias_tensor": op.bias_tensor, "role": op.role,
        "m": op.m, "k": op.k, "n": op.n, "columns": op.columns, "scheme": op.scheme,
        "datatype": op.chosen.name, "group_size": op.group_size, "asymmetric": op.asymmetric,
        "plan": plan_entry(plan), "program": programs.pop(PREFILL),
        **({} if op.one is None else {"decode": {"plan": plan_entry(op.one),
                                                 "programs": programs}}),
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


def description(machine: Machine, options: Options, where: MemoryMap,
               layers: tuple[LinearOp, ...]) -> dict[str, Any]:
    """The part of the manifest that reading derives again."""
    return {"format": FORMAT, "version": VERSION, "machine": machine.to_dict(),
            "identity": machine.identity(), "options": asdict(options), "memory": asdict(where),
            "datatypes": describe_kinds(op.chosen for op in layers),
            "layers": [layer_entry(op, where.weights) for op in layers]}



# ---- reading ------------------------------------------------------------------------------
def typed(entry: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = entry.get(key)
    if type(value) is not kind:
        kinds = {int: "an integer", str: "text", bool: "true or false", dict: "an object",
                  list: "a list", float: "a number"}
        raise ImageError(f"{where}: {key} must be {kinds[kind]}, not {show(value)}; {AGAIN}")
    return value


def difference(expected: Any, found: Any, where: str) -> str | None:
    """Return where two JSON values first differ, in words."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            if key not in expected:
                return f"{where}{key} is not known"
            if key not in found:
                return f"{where}{key} is missing"
            if text := difference(expected[key], found[key], f"{where}{key}."):
                return text
        return None
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return next((text for index, pair in enumerate(zip(expected, found, strict=True))
                     if (text := difference(*pair, f"{where}{index}."))), None)
    if type(expected) is type(found) and expected == found:
        return None
    return f"{where.rstrip('.')} is {show(found)}, which should be {show(expected)}"


def optional(entry: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    return None if entry.get(key) is None else typed(entry, key, kind, where)


def read_layer(machine: Machine, kinds: Mapping[str, Datatype | Mixture], entry: Any, index: int,
           options: Options, room: int, where: str) -> LinearOp:
    """An entry's layer, planned anew, or by its plan where a solver found that. ``room`` bounds
    its size before any planning."""
    tokens = options.tokens
    if not isinstance(entry, dict):
        raise ImageError(f"{where}: layers must be objects, not {show(entry)}; {AGAIN}")
    where = f"{where}: layer {index}"
    name = typed(entry, "datatype", str, where)
    if name not in kinds:
        raise ImageError(f"{where}: datatype {show(name)} is unknown; {AGAIN}")
    op = LinearOp(
        kind=kinds[name], bias_tensor=optional(entry, "bias_tensor", str, where),
        columns=optional(entry, "columns", int, where),
        **{key: typed(entry, key, str, where) for key in ("name", "tensor", "role", "scheme")},
        **{key: typed(entry, key, int, where) for key in ("m", "k", "n", "group_size")},
        asymmetric=typed(entry, "asymmetric", bool, where))
    if not 1 <= op.m <= tokens or min(op.k, op.n) < 1 or not 1 <= op.group_size <= op.k:
        raise ImageError(f"{where}: shape {op.m}x{op.k}x{op.n} in groups of {op.group_size} is "
                         f"not one that was mapped for {tokens} tokens; {AGAIN}")
    if op.columns is not None and (op.columns < op.k or op.columns % op.group_size):
        raise ImageError(f"{where}: {op.columns} columns of {op.k} features in groups of "
                         f"{op.group_size} are not what was mapped; {AGAIN}")
    if op.stored_k * op.n > room * 8:  # no form has less than a bit per weight
        raise ImageError(f"{where}: {op.stored_k}x{op.n} weights of {name} are more than "
                         f"{WEIGHTS_FILE} holds; {AGAIN}")
    plan, one = plans_of(machine, op, options, typed(entry, "plan", dict, where))
    return replace(op, plan=plan, one=one)


def read_options(values: Mapping[str, Any], where: str) -> Options:
    memory = typed(values, "memory", dict, where)
    tokens = typed(values, "tokens", int, where)
    if not 1 <= tokens <= MAX_TOKENS:
        raise ImageError(f"{where}: tokens must be 1 to {MAX_TOKENS}, not {tokens}; {AGAIN}")
    schedule = typed(values, "schedule", str, where)
    if schedule not in SCHEDULES:
        raise ImageError(f"{where}: schedule must be one of {', '.join(SCHEDULES)}, not "
                         f"{show(schedule)}; {AGAIN}")
    return Options(
        weights=typed(values, "weights", str, where), tokens=tokens, schedule=schedule,
        group_size=optional(values, "group_size", int, where),
        smooth=optional(values, "smooth", float, where),
        scale_bits=typed(values, "scale_bits", int, where),
        **{key: typed(values, key, bool, where)
           for key in ("asymmetric", "clip_search", "flush_small_scales", "rotate", "decode")},
        memory=Memory(latency=typed(memory, "latency", int, where),
                      interval=typed(memory, "interval", int, where)))
