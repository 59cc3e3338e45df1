"""The resource model against the syntheses it is fitted to, and against handmade ones."""

import numpy as np
import pytest

from bitwright.hw.machine.chip_resources import (
    CHIPS,
    Model,
    Sample,
    Use,
    blocks,
    counted,
    estimate,
    fits,
    model,
    samples,
    shortage,
    table_of,
)
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS

ECP5 = PRESETS["ulx3s-12f"]


def test_block_rams_by_width_and_depth():
    # DP16KD: 36 x 512 ... 1 x 16384; SB_RAM40_4K: 16 x 256 ... 2 x 2048.
    assert [blocks("ecp5", *each) for each in ((512, 36), (512, 37), (513, 36), (1024, 512),
                                               (16384, 1), (8, 1))] == [1, 2, 2, 29, 1, 1]
    # Written 16 bits at once: two of the 18 bits stay empty.
    assert blocks("ecp5", 1024, 512, 16) == 32 and blocks("ecp5", 512, 64, 16) == 2
    assert [blocks("ice40", *each) for each in ((256, 16), (256, 17), (512, 16), (2048, 2))] == [
        1, 2, 2, 1]


def test_multipliers_are_counted():
    assert counted(ECP5, "ecp5")[1] == 16
    assert counted(ECP5.replace(pe="serial", k_tile=16, dequant="serial"), "ecp5")[1] == 0
    assert counted(ECP5.replace(pe="mac", k_tile=16, lane_mult="dsp"), "ecp5")[1] == 16 * 17
    assert counted(PRESETS["icebreaker"], "ice40")[1] == 2


def test_the_fit_finds_the_sizes_that_made_the_samples():
    def use(machine: Machine) -> Use:
        elements = machine.rows * machine.cols
        luts = 3000 + 40 * machine.cols + elements * (100 + machine.k_tile * machine.act_bits)
        return Use(luts=luts, ff=2 * luts, rams=1, dsps=1)

    machines = [ECP5.replace(rows=rows, cols=cols, k_tile=k_tile)
                for rows, cols, k_tile in ((1, 2, 16), (2, 2, 32), (4, 2, 64), (2, 4, 32),
                                           (4, 4, 64), (2, 2, 64), (1, 4, 64))]
    fitted = Model([Sample(family="ecp5", machine=m.to_dict(), use=use(m)) for m in machines])
    asked = ECP5.replace(rows=8, cols=8, k_tile=64)
    said = fitted.use(asked, "ecp5")
    assert said.luts == pytest.approx(use(asked).luts, rel=0.01)
    assert said.ff == pytest.approx(2 * use(asked).luts, rel=0.01)
    assert all(abs(error) < 0.05 for error in fitted.errors())


@pytest.mark.parametrize("family, typical, worst", [("ecp5", 0.10, 0.25), ("ice40", 0.03, 0.07)])
def test_the_record_is_met(family, typical, worst):
    """Every synthesis by the fit of the others; block RAMs and multipliers exactly."""
    rows = table_of(family)
    errors = np.array([row["error"] for row in rows if row["error"] is not None])
    assert len(rows) >= 16 and len(errors) == len(rows)
    assert np.abs(errors).max() <= worst and np.sqrt(np.square(errors).mean()) <= typical
    for row in rows:
        assert (row["rams_model"], row["dsps_model"]) == (row["rams"], row["dsps"]), row
        assert abs(row["luts_model"] / row["luts"] - 1) < 0.07


def test_the_fit_is_not_flat():
    """No constant explains the samples: the model must follow sizes."""
    for family in ("ecp5", "ice40"):
        luts = np.array([s.use.luts for s in samples() if s.family == family])
        assert luts.max() > 1.1 * luts.min()
        matrix = model(family).coefficients["luts"]
        assert (matrix[1:] > 0).sum() >= 3


def test_what_was_synthesized_is_taken_from_the_record():
    said = estimate("ecp5", PRESETS["ulx3s-85f"])
    assert said is not None and said.measured
    other = estimate("ecp5", PRESETS["ulx3s-85f"].replace(name="mine", psum_depth=256))
    assert other is not None and not other.measured
    assert abs(other.use.luts / said.use.luts - 1) < 0.1


def test_shortage_names_what_is_missing():
    small = CHIPS["iCE40UP5K"]
    assert shortage(small, Use(luts=5280, ff=0, rams=30, dsps=8)) == []
    assert shortage(small, Use(luts=5281, ff=0, rams=31, dsps=8)) == [
        "5,281 logic cells of 5,280", "31 block RAMs of 30"]


def test_every_board_holds_its_machine():
    for name, machine in (("LFE5U-85F", "ulx3s-85f"), ("LFE5U-45F", "ulx3s-12f"),
                          ("LFE5U-25F", "ulx3s-12f"), ("LFE5U-12F", "ulx3s-12f"),
                          ("iCE40UP5K", "icebreaker")):
        said = estimate(CHIPS[name].family, PRESETS[machine])
        assert said is not None and said.measured and shortage(CHIPS[name], said.use) == []


def test_fits_says_on_which_chips():
    found = fits(PRESETS["ulx3s-85f"])
    assert found is not None and set(found) == {"ecp5"}
    chips = found["ecp5"]["chips"]
    assert chips["LFE5U-85F"] == [] and chips["LFE5U-12F"]
    assert any("LUT4s" in text for text in chips["LFE5U-12F"])
