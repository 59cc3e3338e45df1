"""Small models for simulated boards, the command line in this process, and ports that fail."""

import os
import threading

import serial

from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.fpga.boards.registry import BOARDS
from bitwright.hw.machine.presets import PRESETS
from tests.compiler.tiny import BERT, bert_tensors, write_checkpoint

MACHINE = PRESETS["tiny"].replace(memory_bits=16)
SMALL = PRESETS["icebreaker"]
ULX3S, ICEBREAKER = BOARDS["ulx3s-12f"], BOARDS["icebreaker"]
ORANGECRAB = BOARDS["orangecrab-25f"]
TOKENS = 5
WIDE = BERT | {"hidden_size": 256, "intermediate_size": 900, "num_hidden_layers": 1,
               "num_attention_heads": 4}


def map_model(folder, machine=MACHINE, config=BERT, tokens=TOKENS, **options):
    """Folder of a tiny BERT, mapped."""
    source = write_checkpoint(folder / "checkpoint", bert_tensors(config=config), config)
    map_checkpoint(source, folder / "image", machine,
                   Options(tokens=tokens, **{"group_size": 8, **options}))
    return folder / "image"


class CutPort:
    """A port that works for ``writes`` frames; then nothing passes, or with ``error`` the device
    is gone."""

    def __init__(self, path, writes, error=False):
        self._port = serial.serial_for_url(path, baudrate=3_000_000, timeout=0.2)
        self._left, self._error = writes, error

    def _cut(self):
        if self._left <= 0 and self._error:
            raise serial.SerialException("device reports readiness to read but returned no data")
        return self._left <= 0

    def write(self, data):
        self._left -= 1
        return len(data) if self._cut() else self._port.write(data)

    def read(self, size=1):
        return b"" if self._cut() else self._port.read(size)

    timeout = property(lambda self: self._port.timeout,
                       lambda self, value: setattr(self._port, "timeout", value))
    in_waiting = property(lambda self: self._port.in_waiting)

    def reset_input_buffer(self):
        self._port.reset_input_buffer()

    def close(self):
        self._port.close()


class SilentPort:
    """A pseudo-terminal at whose other end nobody answers, or ``answer`` is sent to everything."""

    def __init__(self, answer=b""):
        self._master, self._slave = os.openpty()
        self.path = os.ttyname(self._slave)
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        try:
            while os.read(self._master, 4096):
                os.write(self._master, self._answer)
        except OSError:
            pass

    def close(self):
        os.close(self._slave)
        os.close(self._master)
