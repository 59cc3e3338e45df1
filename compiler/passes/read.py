"""Checkpoint to graph: every operator of the model, linear layers on the array, others hosted."""

from dataclasses import replace

from compiler.dataflow import dataflow
from compiler.graph import Model, Program, VerifyError
from compiler.memory import MapError
from compiler.passes.session import Session
from models.families import transformer


def run(program: Program, session: Session) -> Program:
    """Raises :class:`MapError` for more tokens than the model has positions."""
    checkpoint, tokens = session.checkpoint, program.options.tokens
    positions = checkpoint.config["max_position_embeddings"]
    if tokens > positions:
        raise MapError(f"--tokens must be at most {positions}, the positions of "
                       f"{checkpoint.path.name}, not {tokens}")
    graph = dataflow(transformer(checkpoint.config), checkpoint.linears, tokens)
    return replace(program, graph=graph, model=Model(
        architecture=checkpoint.architecture, checkpoint=checkpoint.path.name,
        sha256=checkpoint.digest()))


def verify(program: Program, session: Session) -> None:
    if not program.linears:
        raise VerifyError("no layer is left for the array")
    for op in program.linears:
        if min(op.m, op.k, op.n) < 1:
            raise VerifyError(f"layer {op.name} has shape {op.m}x{op.k}x{op.n}")
