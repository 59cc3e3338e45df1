"""Programs: one launch per layer, all in ``program.bin``."""

from dataclasses import replace

from compiler.graph import LinearOp, Program, VerifyError
from compiler.passes.session import PROGRAM_FILE, Session
from hw.isa import INSTRUCTION_BYTES, Node, assemble, parse
from hw.kernel import gemm_program, program_bytes


def layer_program(op: LinearOp) -> tuple[Node, ...]:
    return gemm_program(op.planned, op.placed.regions)


def run(program: Program, session: Session) -> Program:
    where = program.memory_map
    assert where is not None
    with (session.folder / PROGRAM_FILE).open("wb") as file:
        for op in program.linears:
            file.seek(op.placed.program)
            file.write(program_bytes(layer_program(op), program.machine))
        file.truncate(where.program_bytes)
    return program.with_linears(replace(op, emitted=True) for op in program.linears)


def verify(program: Program, session: Session) -> None:
    data = (session.folder / PROGRAM_FILE).read_bytes()
    for op in program.linears:
        start, count = op.placed.program, op.placed.instructions
        code = data[start:start + count * INSTRUCTION_BYTES]
        if assemble(parse(code)) != assemble(layer_program(op)):
            raise VerifyError(f"the program of layer {op.name} does not read back")
