import re
import subprocess

import pytest

from bitwright.fpga.soc.pll import PllError, ecp5_pll, ice40_pll
from bitwright.fpga.toolchain.synthesis import find_tool


def said(tool, *arguments):
    done = subprocess.run([find_tool(tool), *arguments], capture_output=True, text=True, check=True)
    return {name.strip(): value for name, value in re.findall(
        r"^([A-Za-z0-9_ ]+): +(?:\d+'b)?([\d.]+)", done.stdout + done.stderr, re.M)}


@pytest.mark.parametrize("wanted", [25, 62.5, 80, 100, 125])
@pytest.mark.parametrize("phase", [0, 90, 240])
def test_ecp5_clocks_are_exact_and_within_limits(wanted, phase):
    pll = ecp5_pll(25, wanted, phase)
    assert pll.megahertz(25) == wanted
    assert 400 <= pll.vco(25) <= 800 and 25 / pll.reference >= 3.125
    assert abs(pll.phase - phase) <= 360 / pll.divisor / 16
    assert 0 <= pll.fine < 8


def test_ecp5_agrees_with_trellis():
    """The tool that comes with the place and route."""
    theirs, ours = said("yowasp-ecppll", "-i", "25", "-o", "80", "--clkout1", "80", "--phase1",
                        "240"), ecp5_pll(25, 80, 240)
    assert float(theirs["VCO frequency"]) == ours.vco(25)
    assert int(theirs["Refclk divisor"]) == ours.reference
    assert int(theirs["Feedback divisor"]) == ours.feedback
    assert int(theirs["clkout0 divisor"]) == ours.divisor
    assert float(theirs["clkout1 phase shift"]) == pytest.approx(ours.phase, abs=360 / 7 / 8)


@pytest.mark.parametrize("wanted", [16.5, 24, 30, 48])
def test_ice40_agrees_with_icestorm(wanted):
    ours = ice40_pll(12, wanted)
    assert ours.megahertz(12) == wanted
    found = subprocess.run([find_tool("yowasp-icepll"), "-i", "12", "-o", str(wanted)],
                           capture_output=True, text=True, check=True).stdout
    settings = {name: int(value) for name, value in re.findall(r"(\w+): +(\d+) \(", found)}
    assert settings == {"DIVR": ours.divr, "DIVF": ours.divf, "DIVQ": ours.divq,
                        "FILTER_RANGE": ours.filter_range}


@pytest.mark.parametrize("find, wanted", [(ecp5_pll, 80.123), (ecp5_pll, 900), (ice40_pll, 24.1),
                                          (ice40_pll, 8)])
def test_a_clock_that_cannot_be(find, wanted):
    with pytest.raises(PllError, match=f"no PLL setting gives {wanted:g} MHz"):
        find(12 if find is ice40_pll else 25, wanted)
