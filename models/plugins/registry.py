"""A registry maps names to the known implementations of a protocol."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

from bitwright.models.errors import UnknownNameError, unknown_name

__all__ = ["Registry", "RegistryError"]


class RegistryError(UnknownNameError):
    """An unknown or a doubled name. One line, for people."""


class Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


class Registry(Mapping[str, T], Generic[T]):
    """Implementations by name, in the order of registration.

    ``what`` names the kind of thing in messages. Looking up an unknown name raises
    :class:`RegistryError`, which lists the known names and the closest one.
    """

    def __init__(self, what: str, items: Iterable[T] = ()) -> None:
        self.what = what
        self._items: dict[str, T] = {}
        for item in items:
            self.register(item)

    def register(self, item: T) -> T:
        """Add ``item`` under its name and return it, so that a class can be decorated.

        Raises :class:`RegistryError` if another item has the name.
        """
        if self._items.setdefault(item.name, item) is not item:
            raise RegistryError(f"{self.what} {item.name!r} is registered twice: choose another "
                                "name")
        return item

    def unregister(self, name: str) -> None:
        """Remove an item. Raises :class:`RegistryError` if there is none."""
        del self._items[self[name].name]

    def __getitem__(self, name: str) -> T:
        try:
            return self._items[name]
        except KeyError:
            raise RegistryError(self.unknown(name)) from None

    def get(self, name: str, default: Any = None) -> Any:
        """The item, or ``default`` if there is none."""
        return self._items.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def unknown(self, name: str) -> str:
        """The message for a name that is not registered."""
        return unknown_name(self.what, name, self._items)
