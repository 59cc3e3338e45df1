"""Runs a model with Hadamard-rotated activations and weights."""

from collections.abc import Collection, Iterable, Mapping

from bitwright.models.architectures.transformer import LinearShape
from bitwright.models.inference.arithmetic import Arithmetic, AttentionCache, weight_of
from bitwright.models.quantization.hadamard import Array, rotate, rotate_weight


def rotated_tensors(linears: Iterable[LinearShape], tensors: Mapping[str, Array]
                    ) -> dict[str, Array]:
    """The weights of ``linears`` rotated, by tensor and as the checkpoint stores them."""
    found = {}
    for linear in linears:
        weight = rotate_weight(weight_of(linear, tensors))
        found[linear.tensor] = weight.T if linear.transposed else weight
    return found


class RotatedArithmetic(Arithmetic):
    """Rotates the activations of the layers called ``names`` and passes them on to ``inner``. The
    weights of these layers must come from :func:`rotate_weight`. Attention is left as it is."""

    def __init__(self, inner: Arithmetic, names: Collection[str]) -> None:
        self.inner, self.names = inner, frozenset(names)

    def linear(self, name: str, x: Array) -> Array:
        return self.inner.linear(name, rotate(x) if name in self.names else x)

    def cache(self) -> AttentionCache:
        return self.inner.cache()
