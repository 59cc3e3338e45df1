"""Emits the programs of every layer's launches into ``program.bin``."""

from dataclasses import replace

from bitwright.compiler.image.file_names import PROGRAM_FILE
from bitwright.compiler.ir.program import LinearOp, Program, VerifyError
from bitwright.compiler.passes.session import Session
from bitwright.hw.codegen.gemm_program import program_bytes
from bitwright.hw.codegen.launch_programs import launch_program
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.isa.program_tree import Node, assemble, parse


def layer_programs(op: LinearOp) -> dict[str, tuple[Node, ...]]:
    """The programs of a placed layer by name."""
    return {name: launch_program(launch, op.placed.regions)
            for name, launch in op.launches.items()}


def run(program: Program, session: Session) -> Program:
    where = program.memory_map
    assert where is not None
    with (session.folder / PROGRAM_FILE).open("wb") as file:
        for op in program.linears:
            for name, nodes in layer_programs(op).items():
                file.seek(op.placed.codes[name].offset)
                file.write(program_bytes(nodes, program.machine))
        file.truncate(where.program_bytes)
    return program.with_linears(replace(op, emitted=True) for op in program.linears)


def verify(program: Program, session: Session) -> None:
    data = (session.folder / PROGRAM_FILE).read_bytes()
    for op in program.linears:
        for name, nodes in layer_programs(op).items():
            start, count = op.placed.codes[name]
            code = data[start:start + count * INSTRUCTION_BYTES]
            if assemble(parse(code)) != assemble(nodes):
                raise VerifyError(f"the {name} program of layer {op.name} does not read back")
