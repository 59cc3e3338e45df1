"""Finds the family of a configuration and reads the model's sizes.

Examples are in ``models/architectures/configs``; their names stand for their paths.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitwright.models.architectures.config_fields import ConfigError, ConfigFields
from bitwright.models.architectures.config_file import read_config_file
from bitwright.models.architectures.families.registry import FAMILIES
from bitwright.models.architectures.family import Family
from bitwright.models.architectures.tensor_name_map import changed
from bitwright.models.architectures.transformer import Names, Transformer
from bitwright.models.command_line.printable import show

__all__ = ["EXAMPLES", "read_config", "transformer"]

CONFIGS = Path(__file__).parents[1] / "configs"
EXAMPLES = tuple(sorted(path.stem for path in CONFIGS.glob("*.json")))
SUFFIXES = ("Model", "LMHeadModel", "ForCausalLM", "ForMaskedLM", "ForPreTraining",
            "ForImageClassification", "ForSequenceClassification", "ForTokenClassification",
            "ForQuestionAnswering")
GGUF = "gguf"


def read_config(spec: str) -> dict[str, Any]:
    """The contents of the ``config.json`` at path ``spec``, or of the example of that name.
    Raises :class:`ConfigError`."""
    path = CONFIGS / f"{spec}.json" if spec in EXAMPLES else Path(spec)
    return read_config_file(path, f"give the path of a config.json or one of "
                                  f"{', '.join(EXAMPLES)}")


def find_family(config: Mapping[str, Any]) -> tuple[Family, str]:
    """The family and the class name. Either ``model_type`` or ``architectures`` names the
    family."""
    kind, classes = config.get("model_type"), config.get("architectures")
    known = f"known are {', '.join(FAMILIES)}"
    if classes is None:
        if not isinstance(kind, str) or kind not in FAMILIES:
            raise ConfigError(f"config: model_type {show(kind)}, without architectures, is no "
                              f"known model; {known}")
        return FAMILIES[kind], ""
    name = classes[0] if isinstance(classes, list) and len(classes) == 1 else None
    stems = {name.removesuffix(suffix) for suffix in SUFFIXES} if isinstance(name, str) else set()
    family = next((family for family in FAMILIES.values()
                   if stems.intersection(family.class_prefixes)), None)
    if name is None or family is None:
        raise ConfigError(f"config: architectures {show(classes)} is no known model; {known}")
    if kind not in (None, family.name):
        raise ConfigError(f"config: model_type must be {family.name!r} for {name}, not "
                          f"{show(kind)}; {known}")
    return family, name


def own_names(family: Family, config: Mapping[str, Any]) -> Names:
    """The family's names, or those under ``tensor_names``: ``"gguf"``, or fields of
    :class:`Names`."""
    given = config.get("tensor_names")
    if given is None:
        return family.names
    if given == GGUF and family.gguf is not None:
        return family.gguf.names
    if given == GGUF:
        known = [other.name for other in FAMILIES.values() if other.gguf is not None]
        raise ConfigError(f"config: tensor_names 'gguf' is for {', '.join(known)} models, not for "
                          f"{family.name}: leave it out")
    if not isinstance(given, dict):
        raise ConfigError(f"config: tensor_names must be 'gguf' or an object, not {show(given)}")
    try:
        return changed(family.names, given)
    except ValueError as error:
        raise ConfigError(f"names: {error}") from None


def transformer(config: Mapping[str, Any]) -> Transformer:
    """The sizes of the model that ``config`` describes.

    Raises :class:`ConfigError` for a family that is not known (it lists those that are) and for
    a value that is missing or out of range.
    """
    family, class_name = find_family(config)
    model = family.transformer(ConfigFields(config, class_name))
    model = replace(model, names=own_names(family, config))
    if len(model.names.inner) > 1 + model.gated:
        raise ConfigError(f"names: inner must be 1 name in a {family.name} model, which has no "
                          "gate")
    return model
