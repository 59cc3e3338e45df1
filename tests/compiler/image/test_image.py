"""A mapped folder is input too: cut, edited and foreign ones are refused, each in one line."""

import hashlib
import json
import random
import shutil

import pytest

from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import Options
from tests.compiler.tiny import QUERY


@pytest.fixture
def copy(mapped, tmp_path):
    return shutil.copytree(mapped, tmp_path / "copy")


def edit(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_opens(mapped):
    image = open_image(mapped)
    assert image.options == Options(tokens=5, group_size=16)
    assert len(image.layers) == 12 and image.layer(QUERY).k == 24


def set_in(*path, value):
    def change(manifest):
        for key in path[:-1]:
            manifest = manifest[key]
        manifest[path[-1]] = value
    return change


def drop(*path):
    def change(manifest):
        for key in path[:-1]:
            manifest = manifest[key]
        del manifest[path[-1]]
    return change


EDITS = {
    "format": (set_in("format", value="other"), "format"),
    "version": (set_in("version", value=1), "version"),
    "machine field": (set_in("machine", "rows", value=4), "does not belong"),
    "machine that cannot be": (set_in("machine", "rows", value=0), "rows"),
    "unknown machine field": (set_in("machine", "colour", value=1), "colour"),
    "identity": (set_in("identity", value=1), "does not belong"),
    "no machine": (drop("machine"), "machine"),
    "machine of another kind": (set_in("machine", value=[]), "machine"),
    "plan": (set_in("layers", 0, "plan", "channels", value=5), "layers.0.plan.channels"),
    "program": (set_in("layers", 3, "program", "offset", value=32), "layers.3.program.offset"),
    "address": (set_in("layers", 0, "addresses", "weights", value=0),
                "layers.0.addresses.weights"),
    "offset": (set_in("layers", 0, "offsets", "bias", value=None), "layers.0.offsets.bias"),
    "offset as float": (set_in("layers", 0, "offsets", "weights", value=0.0), "offsets.weights"),
    "bytes": (set_in("layers", 11, "bytes", "acts", value=1), "layers.11.bytes.acts"),
    "memory map": (set_in("memory", "size", value=1), "memory.size"),
    "more tokens": (set_in("options", "tokens", value=6), "tokens"),
    "too many tokens": (set_in("options", "tokens", value=1 << 60), "tokens"),
    "tokens as text": (set_in("options", "tokens", value="5"), "tokens"),
    "latency": (set_in("options", "memory", "latency", value=0), "latency"),
    "huge layer": (set_in("layers", 0, "k", value=1 << 50), "more than weights.bin holds"),
    "empty layer": (set_in("layers", 0, "n", value=0), "shape"),
    "group": (set_in("layers", 0, "group_size", value=25), "groups of 25"),
    "datatype": (set_in("layers", 0, "datatype", value="int9"), "int9"),
    "wider datatype": (set_in("layers", 0, "datatype", value="int8"), "layers.0"),
    "columns": (set_in("layers", 0, "columns", value=32), "layers.0"),
    "columns of no group": (set_in("layers", 0, "columns", value=40), "40 columns"),
    "columns below the features": (set_in("layers", 0, "columns", value=16), "16 columns"),
    "columns as text": (set_in("layers", 0, "columns", value="32"), "columns"),
    "no datatypes": (drop("datatypes"), "datatypes"),
    "datatype that nothing uses": (set_in("datatypes", "mine", value={
        "bits": 1, "exponent": 0, "values": [0, 1]}), "datatypes.mine"),
    "clip search": (set_in("options", "clip_search", value=1), "clip_search"),
    "group size as text": (set_in("options", "group_size", value="16"), "group_size"),
    "asymmetric": (set_in("layers", 0, "asymmetric", value=1), "asymmetric"),
    "name": (set_in("layers", 0, "name", value=3), "name"),
    "one name twice": (set_in("layers", 1, "name", value=QUERY), "twice"),
    "layer of another kind": (set_in("layers", 0, value="x"), "objects"),
    "missing layer": (drop("layers", 11), "memory"),
    "no layers": (set_in("layers", value=[]), "memory"),
    "missing field": (drop("layers", 0, "bytes"), "layers.0.bytes"),
    "new field": (set_in("extra", value=1), "extra"),
    "no files": (drop("files"), "files"),
    "no digest": (drop("files", "weights.bin", "sha256"), "SHA-256"),
}


@pytest.mark.parametrize("name", EDITS)
def test_edited_manifest(command, copy, name):
    change, word = EDITS[name]
    edit(copy, change)
    with pytest.raises(ImageError) as caught:
        open_image(copy)
    assert word in str(caught.value) and "\n" not in str(caught.value)
    code, out, err = command("run", copy, "--layer", QUERY, "--backend", "golden")
    assert code == 1 and out == "" and err == f"error: {caught.value}\n"


def nodes(value):
    """Every container and key in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from nodes(inner)


def test_any_edit_is_refused_or_harmless(copy):
    junk = [None, True, -1, 0, 1, 7, 1 << 70, 1.5, "", "int2", [], {}, [1], {"a": 1}]
    rng = random.Random(8)
    path = copy / "manifest.json"
    text = path.read_text()
    refused = 0
    for _ in range(300):
        manifest = json.loads(text)
        holder, key = rng.choice(list(nodes(manifest)))
        holder[key] = rng.choice(junk)
        path.write_text(json.dumps(manifest))
        try:
            image = open_image(copy)
        except ImageError as error:
            assert "\n" not in str(error)
            refused += 1
        else:  # names and unused options: whatever runs is the layer that was mapped
            assert [op.k for op in image.layers.values()] == [24, 24, 24, 24, 24, 40] * 2
    assert refused > 200


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": NaN}', "\xff", "{}" * 2,
                                  '{"format": 1, "format": 2}', "[" * 100_000])
def test_manifest_that_is_no_manifest(copy, text):
    (copy / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ImageError, match="manifest"):
        open_image(copy)


@pytest.mark.parametrize("name", ["weights.bin", "program.bin"])
def test_binary_files(command, copy, name):
    path = copy / name
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(ImageError, match=f"{name} must have {len(data)} bytes"):
        open_image(copy)
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(ImageError, match=f"{name} has changed"):
        open_image(copy)
    path.unlink()
    with pytest.raises(ImageError, match=name):
        open_image(copy)
    code, _, err = command("disasm", copy)
    assert code == 1 and name in err


def test_length_that_both_sides_claim(copy):
    path = copy / "weights.bin"
    data = path.read_bytes()[:-4096]
    path.write_bytes(data)

    def change(manifest):
        manifest["files"]["weights.bin"] = {"bytes": len(data),
                                            "sha256": hashlib.sha256(data).hexdigest()}

    edit(copy, change)
    with pytest.raises(ImageError, match=f"must have {len(data) + 4096} bytes"):
        open_image(copy)


def test_program_that_does_not_decode(command, copy):
    path = copy / "program.bin"
    data = bytearray(path.read_bytes())
    data[0] = 15
    path.write_bytes(data)
    edit(copy, set_in("files", "program.bin", "sha256",
                      value=hashlib.sha256(data).hexdigest()))
    for arguments in (("run", copy, "--layer", QUERY, "--backend", "cycles"), ("disasm", copy)):
        code, _, err = command(*arguments)
        assert code == 1 and "unknown opcode 15" in err


def test_absent_folder(command, tmp_path):
    code, out, err = command("run", tmp_path / "absent", "--layer", QUERY)
    assert code == 1 and out == "" and "absent" in err and err.count("\n") == 1


def test_unknown_layer(command, mapped):
    for arguments in (("run", mapped, "--layer", QUERY + "x"),
                      ("disasm", mapped, "--layer", QUERY + "x")):
        code, out, err = command(*arguments)
        assert code == 1 and out == ""
        assert repr(QUERY + "x") in err and f"the closest of 12 is {QUERY!r}" in err
