"""Reads the fields of a model's configuration and checks each value."""

from collections.abc import Mapping
from typing import Any

from bitwright.models.command_line.printable import show
from bitwright.models.errors import Error

__all__ = ["ConfigError", "ConfigFields", "MOST_LAYERS"]

MOST = 1 << 24       # of any size
MOST_LAYERS = 1024   # of layers and experts


class ConfigError(Error, ValueError):
    """A configuration that describes no known model. One line, for people."""


class ConfigFields:
    """Checks the fields of one configuration as they are read. Every error is a
    :class:`ConfigError`.

    Members
    -------
    config : the contents of ``config.json``
    class_name : the one name under ``architectures``; empty if there is none
    """

    def __init__(self, config: Mapping[str, Any], class_name: str = ""):
        self.config, self.class_name = config, class_name

    def size(self, key: str, default: int | None = None, most: int = MOST) -> int:
        """The positive integer under ``key``."""
        value = self.config.get(key)
        if value is None:
            if default is None:
                raise ConfigError(f"config: {key} is missing")
            value = default
        if type(value) is not int or not 1 <= value <= most:
            raise ConfigError(f"config: {key} must be an integer from 1 to {most}, not "
                              f"{show(value)}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """The truth value under ``key``."""
        value = self.config.get(key)
        if value is None:
            return default
        if type(value) is not bool:
            raise ConfigError(f"config: {key} must be true or false, not {show(value)}")
        return value

    def must(self, key: str, *known: Any) -> None:
        """Refuse a value under ``key`` that is not among ``known``. The key may be absent."""
        value = self.config.get(key)
        if value is not None and value not in known:
            raise ConfigError(f"config: {key} must be {' or '.join(map(repr, known))}, not "
                              f"{show(value)}")

    def sizes(self, hidden: str = "hidden_size", ffn: str = "intermediate_size",
              layers: str = "num_hidden_layers", heads: str = "num_attention_heads"
              ) -> dict[str, Any]:
        """The sizes that every family has, as parameters of :class:`Transformer`. The arguments
        are the family's keys; an empty ``ffn`` leaves that size out."""
        width, count = self.size(hidden), self.size(heads)
        kv_heads = self.size("num_key_value_heads", count)
        if count % kv_heads:
            raise ConfigError(f"config: num_key_value_heads must divide {heads} {count}, not "
                              f"{kv_heads}")
        if self.config.get("head_dim") is None and width % count:
            raise ConfigError(f"config: {heads} must divide {hidden} {width}, not {count}")
        found = {"hidden": width, "heads": count, "kv_heads": kv_heads,
                 "head_dim": self.size("head_dim", max(width // count, 1)),
                 "layers": self.size(layers, most=MOST_LAYERS)}
        return found | ({"ffn": self.size(ffn)} if ffn else {})

    def vocabulary(self) -> dict[str, int]:
        """The rows of the token embedding and the channels of the language model's head. A model
        without that head, or with another one, has no channels."""
        rows, name = self.size("vocab_size"), self.class_name
        has_head = not name or name.endswith(("ForCausalLM", "LMHeadModel"))
        return {"vocabulary": rows, "outputs": rows if has_head else 0}
