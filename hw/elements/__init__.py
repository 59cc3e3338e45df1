"""Describes the processing elements without their circuits, one file per element.

A plug-in adds an element by :func:`register_element`.
"""

from bitwright.hw.elements.element import CODES, PLANES, Element, MachineSizes, loaded
from bitwright.hw.elements.known_elements import ELEMENTS, register_element

__all__ = ["CODES", "ELEMENTS", "PLANES", "Element", "MachineSizes", "loaded", "register_element"]
