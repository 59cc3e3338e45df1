"""A plug-in: NumPy's ``.npz`` files as checkpoints, with the configuration inside."""

import json

import numpy as np

from bitwright.compiler.checkpoints.container import Container, Contents
from bitwright.compiler.checkpoints.registry import CONTAINERS
from bitwright.models.file_formats.mapped_file import CheckpointError

TYPES = {"float32": "F32", "float16": "F16"}


class NpzTensors:
    """The arrays of one file, but ``config``."""

    def __init__(self, path):
        self.path, self.paths = path, (path,)
        try:
            self._file = np.load(path)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is no .npz file: {error}") from None
        self.names = tuple(name for name in self._file if name != "config")

    def shape(self, name):
        return self._file[name].shape

    def dtype(self, name):
        return TYPES.get(str(self._file[name].dtype), str(self._file[name].dtype))

    def raw(self, name, row=None):
        return self._file[name] if row is None else self._file[name][row]

    def check_readable(self, name):
        if self.dtype(name) not in TYPES.values():
            raise CheckpointError(f"{self.path}: {name} is {self.dtype(name)}: save it as float32")

    def read(self, name):
        return self._file[name].astype(np.float32)

    def close(self):
        self._file.close()


def open_npz(path):
    file = NpzTensors(path)
    return Contents(file=file, config=json.loads(str(np.load(path)["config"])))


CONTAINERS.register(Container(name="npz", suffixes=(".npz",), open=open_npz))
