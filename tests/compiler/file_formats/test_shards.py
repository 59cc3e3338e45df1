import json

import numpy as np
import pytest

from bitwright.compiler.file_formats.sharded_safetensors import INDEX, ShardedFile
from bitwright.models.file_formats.mapped_file import CheckpointError
from tests.compiler.layouts.build import write_safetensors

A, B = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
MAP = {"x": A, "y": B, "z": A}


def write(folder, weight_map=MAP, **more):
    write_safetensors(folder / A, {"x": ("I32", [[1, 2], [3, 4]]), "z": ("U8", [5])})
    write_safetensors(folder / B, {"y": ("F16", [0.5, -1.5])})
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map, **more}))
    return folder / INDEX


def test_tensors_of_all_shards(tmp_path):
    with ShardedFile(write(tmp_path, metadata={"total_size": 21})) as file:
        assert set(file.names) == {"x", "y", "z"}
        assert [path.name for path in file.paths] == [INDEX, A, B]
        assert file.raw("x").tolist() == [[1, 2], [3, 4]] and file.raw("x", 1).tolist() == [3, 4]
        assert file.raw("x").dtype == np.int32 and file.dtype("z") == "U8"
        assert file.read("y").tolist() == [0.5, -1.5] and file.shape("y") == (2,)
        with pytest.raises(CheckpointError, match="dtype I32"):
            file.check_readable("x")
        with pytest.raises(KeyError):
            file.shape("w")


@pytest.mark.parametrize("name", [
    "../model.safetensors", "/etc/x.safetensors", "a/b.safetensors", "a\\b.safetensors",
    ".safetensors", "..safetensors", "model.bin", "", "a.safetensors\n", 3, None,
    "x" * 300 + ".safetensors", "a\0.safetensors"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    (tmp_path.parent / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="file of tensor 'x' must be a plain name") as caught:
        ShardedFile(write(tmp_path, MAP | {"x": name}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weight_map, text", [
    ({}, "weight_map must be an object"), (3, "weight_map must be an object"),
    ({**MAP, "w": A}, f"tensor 'w' is not in {A}"),
    ({"x": A, "y": B}, "tensor 'z' is not listed for this file"),
    ({**MAP, "y": A, "z": A}, "tensor 'y' is not in"),
    ({**MAP, "z": B}, "tensor 'z' is not listed for this file"),
    ({**MAP, "w": "c.safetensors"}, "c.safetensors cannot be opened"),
])
def test_an_index_of_other_files(tmp_path, weight_map, text):
    with pytest.raises(CheckpointError, match=text):
        ShardedFile(write(tmp_path, weight_map))


@pytest.mark.parametrize("shard", [A, B])
def test_every_header_is_checked(tmp_path, shard):
    index = write(tmp_path)
    raw = (tmp_path / shard).read_bytes()
    (tmp_path / shard).write_bytes(raw[:-1])
    with pytest.raises(CheckpointError, match=shard):
        ShardedFile(index)


def test_a_damaged_index(tmp_path):
    index = write(tmp_path)
    index.write_bytes(b"{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        ShardedFile(index)
