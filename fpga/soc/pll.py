"""Clocks from a board's oscillator."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import wiring

from bitwright.models.errors import Error

__all__ = ["Ecp5Clock", "Ecp5Pll", "Ice40Clock", "Ice40Pll", "PllError", "ecp5_pll", "ice40_pll"]

ECP5_VCO = (400.0, 800.0)       # MHz
ECP5_LEAST_PHASE_DETECTOR = 3.125
ICE40_VCO = (533.0, 1066.0)
ICE40_PHASE_DETECTOR = (10.0, 133.0)
TOLERANCE = 1e-6


class PllError(Error, ValueError):
    """A frequency that no setting gives. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Ecp5Pll:
    """Settings of an EHXPLLL with feedback from its first output. The second output has the same
    frequency, ``phase`` degrees later, as near as eighths of a VCO period come."""
    reference: int
    feedback: int
    divisor: int
    coarse: int         # of the second output, in VCO periods after the first
    fine: int           # and in eighths

    @property
    def phase(self) -> float:
        return 360 * (self.coarse + self.fine / 8) / self.divisor

    def megahertz(self, oscillator: float) -> float:
        return oscillator * self.feedback / self.reference

    def vco(self, oscillator: float) -> float:
        return self.megahertz(oscillator) * self.divisor


def ecp5_pll(oscillator: float, wanted: float, phase: float = 0) -> Ecp5Pll:
    """Settings for ``wanted`` MHz from ``oscillator`` MHz, exactly; of several those with the VCO
    nearest to the middle of its range. Raises :class:`PllError`."""
    low, high = ECP5_VCO
    best: tuple[float, int, Ecp5Pll] | None = None
    for reference in range(1, 129):
        if oscillator / reference < ECP5_LEAST_PHASE_DETECTOR:
            break
        feedback = round(wanted * reference / oscillator)
        if not 1 <= feedback <= 128 or (
                abs(oscillator * feedback / reference - wanted) > wanted * TOLERANCE):
            continue
        for divisor in range(1, 129):
            if not low <= wanted * divisor <= high:
                continue
            eighths = round(phase / 360 * divisor * 8)
            found = Ecp5Pll(reference=reference, feedback=feedback, divisor=divisor,
                            coarse=eighths // 8, fine=eighths % 8)
            rank = (abs(wanted * divisor - (low + high) / 2), reference, found)
            if best is None or rank[:2] < best[:2]:
                best = rank
    if best is None:
        raise PllError(f"no PLL setting gives {wanted:g} MHz from {oscillator:g} MHz; choose a "
                       f"multiple of {oscillator / 5:g} MHz")
    return best[2]


@dataclass(frozen=True, kw_only=True)
class Ice40Pll:
    """DIVR, DIVF, DIVQ and FILTER_RANGE of an SB_PLL40 with simple feedback."""
    divr: int
    divf: int
    divq: int
    filter_range: int

    def megahertz(self, oscillator: float) -> float:
        return oscillator * (self.divf + 1) / ((self.divr + 1) << self.divq)


def ice40_pll(oscillator: float, wanted: float) -> Ice40Pll:
    """Settings for ``wanted`` MHz from ``oscillator`` MHz, exactly, with the smallest divisors.
    Raises :class:`PllError`."""
    for divr in range(16):
        reference = oscillator / (divr + 1)
        if not ICE40_PHASE_DETECTOR[0] <= reference <= ICE40_PHASE_DETECTOR[1]:
            continue
        for divq in range(1, 7):
            vco = wanted * 2**divq
            divf = round(vco / reference) - 1
            if ICE40_VCO[0] <= vco <= ICE40_VCO[1] and 0 <= divf <= 127 and (
                    abs(reference * (divf + 1) - vco) <= vco * TOLERANCE):
                limits = (17, 26, 44, 66, 101)      # MHz, by filter range from 1
                return Ice40Pll(divr=divr, divf=divf, divq=divq, filter_range=next(
                    (i for i, most in enumerate(limits, 1) if reference < most), 6))
    raise PllError(f"no PLL setting gives {wanted:g} MHz from {oscillator:g} MHz; choose a "
                   f"multiple of {oscillator / 8:g} MHz")


class Ecp5Clock(wiring.Component):
    """``clock`` and ``shifted`` from ``pin``; ``locked`` when they are right."""
    pin: wiring.In(1)
    clock: wiring.Out(1)
    shifted: wiring.Out(1)
    locked: wiring.Out(1)

    def __init__(self, pll):
        self._pll = pll
        super().__init__()

    def elaborate(self, platform):
        pll = self._pll
        half = pll.divisor // 2     # the first output's phase, which the second counts from
        return Instance(
            "EHXPLLL", a_ICP_CURRENT="12", a_LPF_RESISTOR="8",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
            p_FEEDBK_PATH="CLKOP", p_CLKI_DIV=pll.reference, p_CLKFB_DIV=pll.feedback,
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=pll.divisor, p_CLKOP_CPHASE=half,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED", p_CLKOS_DIV=pll.divisor, p_CLKOS_CPHASE=half + pll.coarse,
            p_CLKOS_FPHASE=pll.fine,
            i_CLKI=self.pin, i_CLKFB=self.clock, o_CLKOP=self.clock, o_CLKOS=self.shifted,
            o_LOCK=self.locked, i_RST=Const(0, 1), i_STDBY=Const(0, 1), i_PHASESEL0=Const(0, 1),
            i_PHASESEL1=Const(0, 1), i_PHASEDIR=Const(1, 1), i_PHASESTEP=Const(1, 1),
            i_PHASELOADREG=Const(1, 1), i_PLLWAKESYNC=Const(0, 1), i_ENCLKOP=Const(0, 1))


class Ice40Clock(wiring.Component):
    """``clock`` from the oscillator's pad, an I/O port; ``locked`` when it is right."""
    clock: wiring.Out(1)
    locked: wiring.Out(1)

    def __init__(self, pll, pad):
        self._pll, self._pad = pll, pad
        super().__init__()

    def elaborate(self, platform):
        pll = self._pll
        return Instance(
            "SB_PLL40_PAD", p_FEEDBACK_PATH="SIMPLE", p_DIVR=Const(pll.divr, 4),
            p_DIVF=Const(pll.divf, 7), p_DIVQ=Const(pll.divq, 3),
            p_FILTER_RANGE=Const(pll.filter_range, 3), i_PACKAGEPIN=self._pad.io,
            o_PLLOUTGLOBAL=self.clock, o_LOCK=self.locked, i_RESETB=Const(1, 1),
            i_BYPASS=Const(0, 1))
