"""Splits any number of tokens into launches of a layer with a one-token program. Launches have the
size that the layer was mapped for; the rest takes whichever way has fewer cycles. All use the
stored weights."""

from collections.abc import Callable, Iterable, Sequence

from bitwright.compiler.ir.program import LinearOp
from bitwright.hw.codegen.launch_programs import Launch, follows, plan_alike
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.hw.tiling.tile_plan import Plan

__all__ = ["Pieces", "in_a_row"]


def in_a_row(plans: Sequence[Plan]) -> tuple[Launch, ...]:
    """Launches of one layer: those that find its weights in their buffers do not load them."""
    return tuple(Launch(plan, bool(index) and follows(plan, plans[index - 1]))
                 for index, plan in enumerate(plans))


class Pieces:
    """``cycles`` is what the cycle model says of a launch."""

    def __init__(self, cycles: Callable[[Launch], int]) -> None:
        self._cycles = cycles
        self._known: dict[tuple[Plan, Plan | None, int], tuple[Launch, ...]] = {}

    def launches(self, op: LinearOp, tokens: int) -> tuple[Launch, ...]:
        """Return the launches of a placed layer for ``tokens``, no more and no less. As many as
        possible use its first program. The rest runs at once, by a plan for so many, or token by
        token."""
        key = op.planned, op.one, tokens
        if key not in self._known:
            self._known[key] = min(self._ways(op, tokens), key=lambda way: sum(
                map(self._cycles, way)))
        return self._known[key]

    def _ways(self, op: LinearOp, tokens: int) -> Iterable[tuple[Launch, ...]]:
        whole, rest = divmod(tokens, op.m)
        start = [op.planned] * whole
        if not rest:
            yield in_a_row(start)
            return
        if rest > 1:
            try:
                yield in_a_row([*start, plan_alike(op.planned, rest)])
            except PlanError:
                pass  # no such program fits: token by token then
        assert op.one is not None
        yield in_a_row([*start, *[op.one] * rest])
