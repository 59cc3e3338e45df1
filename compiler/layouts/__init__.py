"""Readers of low-bit checkpoints: weights as they are stored, with no detour through floats."""

from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.native_matrix import Held, LayoutError, NativeMatrix, hold
from bitwright.compiler.layouts.registry import LAYOUTS, layout_of, layouts_table

__all__ = ["Held", "LAYOUTS", "Layout", "LayoutError", "NativeMatrix", "hold", "layout_of",
           "layouts_table"]
