"""Chooses the adders of a processing element by the chip they are for."""

from bitwright.hw.rtl.fabric.ecp5_adders import Ecp5Adders
from bitwright.hw.rtl.fabric.generic_adders import GenericAdders
from bitwright.hw.rtl.fabric.ice40_adders import Ice40Adders


def adders_for(config):
    """The adders of one processing element on ``config.fabric``."""
    return {"generic": GenericAdders, "ecp5": Ecp5Adders,
            "ice40": Ice40Adders}[config.fabric]()
