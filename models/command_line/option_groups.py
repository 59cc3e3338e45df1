"""Options that several commands share, as dataclasses that become options of each command.

A command takes such a dataclass as one parameter. :func:`spread` gives typer a signature with one
option per field, and hands the command the dataclass. A default of the parameter gives the
fields' defaults for that command.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from bitwright.models.errors import UnknownNameError

__all__ = ["Json", "JsonFile", "Seed", "WeightChoice", "one_of", "spread"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
JsonFile = Annotated[Path | None, typer.Option("--out", help="JSON file to write.")]
Seed = Annotated[int, typer.Option(
    "--seed", min=0, help="Seed of what is random; the same seed repeats a run.")]


@dataclass(frozen=True)
class WeightChoice:
    """How weights are quantized: the scheme, its groups, and whether groups have offsets."""
    weights: Annotated[str, typer.Option(
        "--weights", help="Datatype, mixture or scheme ('bitwright formats' lists them), or the "
                          ".toml file of a datatype.")] = "int4"
    group_size: Annotated[int | None, typer.Option(
        "--group-size", min=0, help="Input features per scale, 0 for the whole channel; the "
                                    "scheme's own if left out, which is 64 for most.")] = None
    asymmetric: Annotated[bool, typer.Option(
        "--asymmetric", help="Give every group an offset.")] = False


def one_of(option: str, value: str, known: Iterable[str]) -> str:
    """Return ``value`` if it is known. ``UnknownNameError`` lists what is known."""
    names = list(known)
    if value not in names:
        raise UnknownNameError(f"{option} must be one of {', '.join(names)}, not {value!r}")
    return value


def spread(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``command`` with every parameter that is a dataclass replaced by its fields.

    All parameters of the result are keywords, in the same order. ``ValueError`` if two fields or
    parameters have one name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if isinstance(kind, type) and is_dataclass(kind):
            groups[parameter.name] = kind
            parameters += _options(kind, parameter.default)
        else:
            parameters.append(inspect.Parameter(
                parameter.name, inspect.Parameter.KEYWORD_ONLY, default=parameter.default,
                annotation=kind))

    def run(**values: Any) -> Any:
        for name, kind in groups.items():
            values[name] = kind(**{each.name: values.pop(each.name) for each in fields(kind)})
        return command(**values)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    return run


def _options(kind: type, defaults: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for each in fields(kind):
        default = each.default if isinstance(defaults, type) else getattr(defaults, each.name)
        found.append(inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name],
            default=inspect.Parameter.empty if default is MISSING else default))
    return found
