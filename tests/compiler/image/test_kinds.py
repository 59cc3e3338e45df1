"""Datatypes of the user: from a file into an image that needs the file no more."""

import json
import shutil
from dataclasses import replace

import pytest

from bitwright.compiler.image.codebook_entries import KindError, describe_kinds, read_kinds
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import open_image
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.datatypes.custom import load_datatype
from bitwright.models.datatypes.datatype import codebook
from bitwright.models.datatypes.mixture import Mixture
from bitwright.sim.verilator.simulator import build
from tests.compiler.image.test_image import drop, edit, set_in
from tests.compiler.mapping.test_refusals import refused
from tests.compiler.tiny import DOWN, map_tiny

ODD = (-63, -31, -21, -15, -11, -7, -5, -3, 1, 3, 5, 9, 13, 19, 27, 61)


def toml(folder, name="odd", values=ODD, more=""):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\nvalues = {list(values)}\n{more}')
    return path


@pytest.fixture
def odd(command, checkpoint, tmp_path):
    """An image in a datatype of sixteen odd values, in halves; its file is gone."""
    path = toml(tmp_path / "types", values=[value / 2 for value in ODD])
    assert map_tiny(command, checkpoint, tmp_path / "out", "--weights", path)[0] == 0
    shutil.rmtree(tmp_path / "types")
    return tmp_path / "out"


def test_manifest_stores_the_codebook(odd, tmp_path):
    text = (odd / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["datatypes"] == {"odd": {"bits": 4, "exponent": -1, "values": list(ODD)}}
    assert manifest["options"]["weights"] == manifest["layers"][0]["scheme"] == "odd"
    assert ".toml" not in text and str(tmp_path) not in text
    kind = open_image(odd).layer(DOWN).kind
    assert (kind.values, kind.exponent, kind.bits) == (ODD, -1, 4)


def test_every_element_runs_it_in_the_simulator_there_is(command, odd):
    image = open_image(odd)
    sums = set()
    for pe in ("lut", "serial", "mac"):
        build(image.machine.with_pe(pe))  # for any datatype: the key knows the machine alone
        for backend in ("golden", "rtl"):
            code, out, err = command("run", odd, "--layer", DOWN, "--backend", backend, "--pe", pe,
                                     "--json")
            assert code == 0 and "compiling" not in err
            found = json.loads(out)
            assert not found["mismatches"]
            sums.add(found["sha256"])
    assert len(sums) == 1


@pytest.mark.parametrize("pe", ["serial", "mac"])
def test_mapped_for_other_elements(command, checkpoint, tmp_path, pe):
    path = toml(tmp_path / "types")
    assert map_tiny(command, checkpoint, tmp_path / "out", "--weights", path, "--pe", pe)[0] == 0
    code, out, err = command("run", tmp_path / "out", "--layer", DOWN, "--backend", "rtl",
                             "--json")
    assert code == 0, err
    assert json.loads(out)["mismatches"] == 0


def test_the_same_bytes_wherever_the_file_lies(command, checkpoint, tmp_path):
    for name in ("a", "b"):
        path = toml(tmp_path / f"types-{name}")
        assert map_tiny(command, checkpoint, tmp_path / name, "--weights", path)[0] == 0
    for file in ("manifest.json", "weights.bin", "report.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("values, more", [
    ((0, 1), ""), ((-4, 0, 0.5), "bits = 3"), ((2.0**-900, -3 * 2.0**-900), ""), (ODD, "")])
def test_round_trip(tmp_path, values, more):
    kind = load_datatype(str(toml(tmp_path, "mine", values, more)))
    entry = json.loads(json.dumps(describe_kinds([kind, DATATYPES["int4"]])))
    assert read_kinds(entry) == {**read_kinds({}), "mine": kind}
    assert set(entry) == {"mine"}


def test_types_that_an_image_would_not_give_again():
    book = codebook("mine", (0, 1, 2, 3))
    assert read_kinds(describe_kinds([book]))["mine"] == book
    coded = replace(book, coefs=(1, 2, 4))      # a plane that no value needs
    with pytest.raises(KindError, match="^datatype mine has planes that an image does not keep: "):
        describe_kinds([coded])
    mixture = Mixture("pair", (DATATYPES["fp4_er_neg"], DATATYPES["fp4_ea_pos"]))
    with pytest.raises(KindError, match="^mixture pair is not built in"):
        describe_kinds([mixture])
    wide = codebook("wide", range(-32, 32))
    assert read_kinds(describe_kinds([wide]))["wide"] == wide


@pytest.mark.parametrize("text, word", [
    ("name = ", "is not TOML"), ('name = "x"', "values"), ('name = "x"\nvalues = [0.1, 1]', "0.1"),
    ('name = "int4"\nvalues = [1]', "new one"), ('name = "mxfp4"\nvalues = [1]', "new one"),
    ('name = "x"\nvalues = [0]', "other than 0"), ('name = "x y"\nvalues = [1]', "name"),
    ('name = "x"\nvalues = [1]\ncolour = 3', "colour"),
    ('name = "x"\nvalues = [nan]', "finite"), (None, "cannot be read")])
def test_bad_files(command, checkpoint, tmp_path, text, word):
    path = tmp_path / "x.toml"
    if text is not None:
        path.write_text(text)
    refused(map_tiny(command, checkpoint, tmp_path / "out", "--weights", path), word, "x.toml")
    assert not (tmp_path / "out").exists()


BOOK = ("datatypes", "odd")
EDITS = {
    "a value": (set_in(*BOOK, "values", 3, value=-9), None),
    "even values": (set_in(*BOOK, "values", value=[2 * v for v in range(-8, 8)]), "datatypes"),
    "value out of range": (set_in(*BOOK, "values", 0, value=-128), "value 0"),
    "value as float": (set_in(*BOOK, "values", 0, value=1.0), "value 0"),
    "value as flag": (set_in(*BOOK, "values", 0, value=True), "value 0"),
    "value twice": (set_in(*BOOK, "values", 0, value=3), "differ"),
    "too few values": (set_in(*BOOK, "values", value=[1]), "must be 16"),
    "no value": (set_in(*BOOK, "values", value=[None] * 16), "other than 0"),
    "zeros": (set_in(*BOOK, "values", value=[0] + [None] * 15), "other than 0"),
    "values of another kind": (set_in(*BOOK, "values", value="x"), "must be 16"),
    "bits": (set_in(*BOOK, "bits", value=60), "bits"),
    "exponent": (set_in(*BOOK, "exponent", value=1 << 60), "exponent"),
    "missing exponent": (drop(*BOOK, "exponent"), "exponent"),
    "field": (set_in(*BOOK, "colour", value=1), "bits, exponent and values"),
    "no codebook": (drop(*BOOK), "'odd' is unknown"),
    "codebook of another kind": (set_in(*BOOK, value=[]), "odd must be an object"),
    "built-in name": (set_in("datatypes", "int4", value={}), "called 'int4'"),
    "bad name": (set_in("datatypes", "a b", value={}), "called 'a b'"),
    "datatypes of another kind": (set_in("datatypes", value=[]), "datatypes"),
}


@pytest.mark.parametrize("name", EDITS)
def test_edited_codebooks(odd, name):
    change, word = EDITS[name]
    edit(odd, change)
    if word is None:  # another datatype of the same shape: what is stored is read as that
        assert open_image(odd).layer(DOWN).kind.values[3] == -9
        return
    with pytest.raises(ImageError) as caught:
        open_image(odd)
    assert word in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("pe", ["serial", "mac"])
def test_a_decode_table_of_another_codebook(command, checkpoint, tmp_path, pe):
    map_tiny(command, checkpoint, tmp_path / "out", "--weights", toml(tmp_path / "types"), "--pe",
             pe)
    edit(tmp_path / "out", set_in(*BOOK, "values", 3, value=-13))
    for backend in ("golden", "rtl"):
        refused(command("run", tmp_path / "out", "--layer", DOWN, "--backend", backend),
                f"layer {DOWN}", "decode table", "not that of odd")
