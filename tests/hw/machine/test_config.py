import json
from dataclasses import dataclass, field

import pytest

from bitwright.hw.machine.description import ADDED_LATER, Machine, MachineError
from bitwright.hw.machine.presets import PRESETS, machine


@pytest.mark.parametrize("name", PRESETS)
def test_text_forms_round_trip(name):
    preset = PRESETS[name]
    assert Machine.from_toml(preset.to_toml()) == preset
    assert Machine.from_json(preset.to_json()) == preset
    assert Machine.from_dict(preset.to_dict()) == preset


def test_files_and_overrides(tmp_path):
    preset = PRESETS["tiny"].replace(name="mine", rows=4)
    (tmp_path / "mine.toml").write_text(preset.to_toml())
    (tmp_path / "mine.json").write_text(preset.to_json())
    assert machine(str(tmp_path / "mine.toml")) == machine(str(tmp_path / "mine.json")) == preset
    changed = machine("tiny", {"rows": "8", "table": "mux"})
    assert (changed.rows, changed.table) == (8, "mux")
    assert machine("tiny") == PRESETS["tiny"]


def test_identity_covers_what_programs_depend_on_and_nothing_else():
    tiny = PRESETS["tiny"]
    same = [tiny.replace(name="x"), tiny.replace(fabric="ecp5"), tiny.replace(table="mux")]
    assert {m.identity() for m in same} == {tiny.identity()}
    other = {"rows": 4, "cols": 4, "k_tile": 32, "builders": 1, "memory_bits": 16,
             "weight_depth": 512, "act_depth": 512, "scale_depth": 256, "psum_depth": 32,
             "out_depth": 128, "program_depth": 256, "outstanding": 2, "queue_depth": 2,
             "scale_units": 5}
    identities = {tiny.replace(**{name: value}).identity() for name, value in other.items()}
    assert len(identities | {tiny.identity()}) == len(other) + 1


@pytest.mark.parametrize("changes, words", [
    ({"rows": 0}, ("rows", "1…64", "0")),
    ({"rows": 65}, ("rows", "1…64", "65")),
    ({"rows": 3}, ("rows", "power of two", "3")),
    ({"rows": True}, ("rows", "integer", "True")),
    ({"rows": "2"}, ("rows", "integer", "'2'")),
    ({"name": 5}, ("name", "text", "5")),
    ({"cols": 0}, ("cols", "1…64", "0")),
    ({"cols": 3}, ("memory_bits", "weight word", "cols")),
    ({"k_tile": 6}, ("k_tile=6", "multiple of 4")),
    ({"k_tile": 12}, ("tables", "power of two", "3")),
    ({"k_tile": 512}, ("k_tile", "3…256", "512")),
    ({"builders": 3}, ("builders=3", "4 tables")),
    ({"builders": 0}, ("builders", "1…64", "0")),
    ({"outstanding": 17}, ("outstanding", "1…16", "17")),
    ({"queue_depth": 0}, ("queue_depth", "1…16", "0")),
    ({"act_bits": 7}, ("act_bits", "4, 8, 16", "7")),
    ({"pe": "fma"}, ("pe", "lut, serial, mac", "'fma'")),
    ({"dequant": "lut"}, ("dequant", "dsp, serial", "'lut'")),
    ({"scale_units": 4}, ("scale_units", "1, 2, 3, 5, 9", "4")),
    ({"lane_mult": "lut"}, ("lane_mult", "fabric, dsp", "'lut'")),
    ({"value_bits": 10}, ("value_bits", "2…9", "10")),
    ({"table": "rom"}, ("table", "lutram", "mux", "'rom'")),
    ({"fabric": "asic"}, ("fabric", "generic", "'asic'")),
    ({"memory_bits": 24}, ("memory_bits", "16, 32, 64", "24")),
    ({"memory_bits": 64}, ("memory_bits=64", "weight word of 32 bits")),
    ({"table": "tl2"}, ("k_tile=16", "multiple of 3")),
    *(({f"{name}_depth": 4}, (f"{name}_depth", "8…32768", "4"))
      for name in ("weight", "act", "scale", "psum", "out", "program")),
    ({"weight_depth": 1000}, ("weight_depth", "power of two", "1000")),
    ({"memory_bit": 32}, ("'memory_bit'", "known", "memory_bits")),
])
def test_errors_name_field_value_and_limit(changes, words):
    with pytest.raises(MachineError) as caught:
        PRESETS["tiny"].replace(**changes)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("text, word", [("{", "not JSON"), ("[]", "object"),
                                        (json.dumps({"colour": 1}), "'colour'")])
def test_bad_json(text, word):
    with pytest.raises(MachineError, match=word):
        Machine.from_json(text)


@pytest.mark.parametrize("text, word", [("rows = ", "not TOML"), ("rows = 2.5", "rows.*2.5"),
                                        ("[rows]\na = 1", "rows.*integer")])
def test_bad_toml(text, word):
    with pytest.raises(MachineError, match=word):
        Machine.from_toml(text)


def test_bad_specifications(tmp_path):
    with pytest.raises(MachineError, match="unknown machine 'huge'; presets: tiny"):
        machine("huge")
    with pytest.raises(MachineError, match="cannot read machine file"):
        machine(str(tmp_path / "absent.toml"))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MachineError, match="cannot read machine file"):
        machine(str(tmp_path / "binary.json"))
    with pytest.raises(MachineError, match="rows must be an integer, not 'two'"):
        machine("tiny", {"rows": "two"})
    with pytest.raises(MachineError, match="unknown machine field 'raws'"):
        machine("tiny", {"raws": "2"})


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_derived_widths_hold_their_extremes(preset):
    most = 1 << preset.act_bits - 1
    assert 4 * most <= 1 << preset.table_bits - 1                # a3 - a0 - a1 - a2, all minimal
    assert preset.k_tile * most <= 1 << preset.sigma_bits - 1
    assert 2 * 8 * preset.k_tile * most <= 1 << preset.acc_bits - 1
    assert preset.acc_bits <= 18                                  # one multiplier's port
    assert preset.one_bit_products == preset.rows * preset.cols * preset.k_tile


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("pe", ["serial", "mac"])
def test_another_element_keeps_the_weight_word(preset, pe):
    other = preset.with_pe(pe)
    assert (other.pe, other.weight_word_bits) == (pe, preset.weight_word_bits)
    assert other.k_tile * 4 == preset.k_tile and other.with_pe(pe) == other
    assert other.with_pe("lut").k_tile == preset.k_tile
    assert other.identity() != preset.identity()


@pytest.mark.parametrize("units, steps", [(1, 9), (2, 5), (3, 3), (5, 2), (9, 1)])
def test_slots_that_a_scale_takes(units, steps):
    tiny = PRESETS["tiny"].replace(scale_units=units)
    assert tiny.replace(dequant="serial").scale_steps == steps and tiny.scale_steps == 1


def test_identity_leaves_out_what_no_program_depends_on():
    tiny = PRESETS["tiny"]
    for same in ({"table": "mux"}, {"fabric": "ecp5"}, {"name": "other"}, {"lane_mult": "dsp"}):
        assert tiny.replace(**same).identity() == tiny.identity()
    for other in ({"rows": 4}, {"dequant": "serial"}, {"act_bits": 4}, {"pe": "mac"}):
        assert tiny.replace(**other).identity() != tiny.identity()


@pytest.mark.parametrize("changes, pe", [({"pe": "serial", "k_tile": 16}, "serial"),
                                         ({"pe": "mac", "k_tile": 16}, "mac")])
def test_sums_of_decoded_weights_fit(changes, pe):
    config = PRESETS["tiny"].replace(**changes)
    value = {"serial": 40, "mac": 1 << config.value_bits - 1}[pe]
    assert value * config.k_tile << config.act_bits - 1 <= 1 << config.acc_bits - 1
    assert config.acc_bits == 18


@dataclass(frozen=True, kw_only=True)
class Extended(Machine):
    """A machine of a later release, with one field more."""

    dummy: int = field(default=3, metadata=ADDED_LATER)


@pytest.mark.parametrize("name", PRESETS)
def test_a_field_added_later_changes_no_machine_that_leaves_it_alone(name):
    preset = PRESETS[name]
    later = Extended.from_json(preset.to_json())
    assert later.dummy == 3
    assert later.identity() == preset.identity()
    assert later.to_json() == preset.to_json() and later.to_toml() == preset.to_toml()
    set_ = later.replace(dummy=4)
    assert set_.identity() != preset.identity()
    assert Extended.from_json(set_.to_json()) == Extended.from_toml(set_.to_toml()) == set_
