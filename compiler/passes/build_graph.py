"""Builds the graph of a checkpoint's operators: linear layers on the array, others on the host."""

from dataclasses import replace

from bitwright.compiler.ir.lowering import dataflow
from bitwright.compiler.ir.memory_map import MapError
from bitwright.compiler.ir.program import Model, Options, Program, VerifyError
from bitwright.compiler.passes.session import Session
from bitwright.models.architectures.transformer import Transformer


def launch_tokens(model: Transformer, tokens: int, name: str) -> int:
    """Return ``tokens``, or the tokens of an image. Raises :class:`MapError` for another number
    than an image has, and for more than the model has positions."""
    if model.patches:
        if tokens not in (Options.tokens, model.positions):
            raise MapError(f"--tokens must be {model.positions}, the patches of an image and its "
                           f"class token, in {name}; leave it out")
        return model.positions
    if model.positions and tokens > model.positions:
        raise MapError(f"--tokens must be at most {model.positions}, the positions of {name}, not "
                       f"{tokens}")
    return tokens


def check_decode(model: Transformer, tokens: int, name: str) -> None:
    """Raise :class:`MapError` where one-token programs serve nothing."""
    if not model.causal:
        raise MapError(f"--decode is for models that write text, and {name} is of a "
                       f"{model.family} model: leave it out")
    if tokens == 1:
        raise MapError("--decode adds programs for one token to those for several: give --tokens "
                       "2 or more, or leave --decode out")


def run(program: Program, session: Session) -> Program:
    """Raises :class:`MapError` for tokens that the model cannot take."""
    checkpoint = session.checkpoint
    if program.options.decode:
        check_decode(checkpoint.model, program.options.tokens, checkpoint.path.name)
    tokens = launch_tokens(checkpoint.model, program.options.tokens, checkpoint.path.name)
    return replace(
        program, options=replace(program.options, tokens=tokens),
        graph=dataflow(checkpoint.model, checkpoint.config, tokens, every_expert=True),
        model=Model(architecture=checkpoint.architecture, checkpoint=checkpoint.path.name,
                    sha256=checkpoint.digest()))


def verify(program: Program, session: Session) -> None:
    if not program.linears:
        raise VerifyError("no layer is left for the array")
    for op in program.linears:
        if min(op.m, op.k, op.n) < 1:
            raise VerifyError(f"layer {op.name} has shape {op.m}x{op.k}x{op.n}")
