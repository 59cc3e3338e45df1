"""Programs as text, beside what they should say."""

import json

from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.isa.program_tree import disassemble
from tests.compiler.tiny import LLAMA, llama_tensors, write_checkpoint

KEY = "model.layers.0.self_attn.k_proj"

# 2 tokens, 16 features, 8 channels, int4: one K-tile and one output tile of 4 channels a column.
# In beats of 4 bytes: 2 * 16 activations are 8, 8 scales of 2 bytes are 4, 8 * 16 weights of half a
# byte are 16, a row of 8 outputs is 8. In words of their buffers: 2 of activations (2 tables a
# step), 4 * 4 planes of weights, 4 of scales, 4 of outputs; credits are what buffers hold of these
# (1024 / 16, 1024 / 2 but 200 at most, 64 / 4).
# Steps of address registers (`add`) are left out: where they stand is the kernel's affair.
TEXT = """\
credit queue=w_free count=64
credit queue=a_free count=200
credit queue=out_free count=16
load dram=0+r5 sram=0+r6 beats=8 target=acts wait=1 signal=1
load dram=0+r3 sram=0+r4 beats=4 target=scales wait=1
load dram=0+r1 sram=0+r2 beats=16 target=weights signal=1
exec w_addr=0+r7 a_addr=0+r9 s_addr=0+r8 psum=0+r13 out=0+r10 tiles=1 channels=4 \
slots0=4 sigma0=1 group_tiles=1 first=1 final=1 wait_w=1 wait_a=1 wait_out=1 free_w=1 \
free_a=1 signal_out=1
store dram=0+r12 out=0+r11 stride=32 rows=2 beats=8 wait=1 signal=1
halt
"""


def test_smallest_layer(command, tmp_path):
    source = write_checkpoint(tmp_path / "in", llama_tensors(), LLAMA)
    command("map", source, "--machine", "tiny", "--tokens", 2, "--group-size", 0,
            "--out", tmp_path / "out")
    code, out, _ = command("disasm", tmp_path / "out", "--layer", KEY)
    assert code == 0
    head, *lines = out.splitlines()
    assert head == f"layer {KEY}: {len(lines)} instructions at 0x1000"
    assert [line[:7] for line in lines] == [f"{index:5d}  " for index in range(len(lines))]
    assert "".join(f"{line[7:]}\n" for line in lines if "  add reg=" not in line) == TEXT
    place = json.loads((tmp_path / "out" / "manifest.json").read_text())["layers"][1]["addresses"]
    for register, region in ((1, "weights"), (3, "scales"), (5, "acts"), (12, "outputs")):
        assert f"  add reg={register} value={place[region]}\n" in out


def test_all_layers_in_order(command, mapped):
    manifest = json.loads((mapped / "manifest.json").read_text())
    data = (mapped / "program.bin").read_bytes()
    expected = ""
    for entry in manifest["layers"]:
        at, count = entry["program"]["offset"], entry["program"]["instructions"]
        expected += f"layer {entry['name']}: {count} instructions at {at:#x}\n"
        expected += disassemble(data[at:at + count * INSTRUCTION_BYTES])
    code, out, err = command("disasm", mapped)
    assert (code, out, err) == (0, expected, "")
    assert out.count("  halt\n") == 12
