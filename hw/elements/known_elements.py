"""The elements by name: those of Bitwright, then those of plug-ins."""

from bitwright.hw.elements.element import Element
from bitwright.hw.elements.lut import LutElement
from bitwright.hw.elements.mac import MacElement
from bitwright.hw.elements.serial import SerialElement
from bitwright.models.plugins import Registry

__all__ = ["ELEMENTS", "register_element"]

ELEMENTS: Registry[Element] = Registry("element", (LutElement(), SerialElement(), MacElement()))


def register_element(element: Element) -> Element:
    """Make ``element`` known under its name and return it. The name of another element raises
    :class:`bitwright.models.plugins.RegistryError`."""
    return ELEMENTS.register(element)
