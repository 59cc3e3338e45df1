"""Lists where an ECP5's multipliers and block RAMs are."""

from bitwright.fpga.chips.chip_family import Sites

__all__ = ["SITES"]

_GROUPS = (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)     # first columns of sites

# A DSP block has four multipliers and four clock enables; an element has one of its own beside that
# which is constant.
SITES = {"LFE5U-85F": Sites(height=95, places={
    "dsp": tuple((x + i, y, f"MULT18_{i}") for y in (10, 34, 58) for x in _GROUPS
                 for i in (0, 1, 4)),
    "ram": tuple((x + 2 * i, y, f"EBR{i}") for y in (22, 46, 70, 82) for x in _GROUPS
                 for i in range(4))})}
