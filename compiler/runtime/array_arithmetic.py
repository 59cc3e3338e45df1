"""A mapped image as the arithmetic of its network: every matrix product on the array."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.ir.layer_inputs import prepared
from bitwright.compiler.ir.program import LinearOp
from bitwright.compiler.runtime.image_weights import ImageWeights
from bitwright.compiler.runtime.kv_cache import CodeCache
from bitwright.compiler.runtime.launch_splitting import Pieces
from bitwright.compiler.runtime.launcher import Launches, Product
from bitwright.compiler.runtime.run_layer import bias
from bitwright.models.inference.arithmetic import Arithmetic, AttentionCache, FloatCache
from bitwright.models.inference.golden import dequantize_output
from bitwright.models.quantization.rounding import quantize_activations

__all__ = ["Array"]

Floats = NDArray[np.floating[Any]]


class Array(Arithmetic):
    """The image's layers and ``layers`` of attention. Layers that do not read one another share
    launches.

    Activations of every token are quantized to the machine's bits, products are integers, and
    scales and bias are applied in float64 before the result is rounded to the dtype of ``x``.
    ``tensors`` are the host's, and what is done to inputs first
    :mod:`bitwright.compiler.ir.layer_inputs`.
    Attention is in floating point on the host where ``form`` is None. Layers of an image with
    one-token programs are launched as :class:`Pieces` says, others by a plan for all tokens.
    """

    def __init__(self, image: Image, tensors: Mapping[str, NDArray[Any]], launches: Launches,
                 layers: int, form: KeyForm | None) -> None:
        self.image, self.tensors, self.launches = image, tensors, launches
        self.layers, self.form = layers, form
        self.weights = ImageWeights(image)
        self.pieces = Pieces(lambda launch: launches.model(launch).counters["run"])

    def linear(self, name: str, x: Floats) -> Floats:
        return self.linears({name: x})[name]

    def linears(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        products, found = [], {}
        for name, x in inputs.items():
            op = self.image.layer(name)
            product, found[name] = self._product(op, x)
            products.append(product)
        self.launches.launch(*products)
        return found

    def _product(self, op: LinearOp, x: Floats) -> tuple[Product, Floats]:
        """A layer's product, and what it gives."""
        machine, qm = self.launches.machine, self.weights.prepared(op)
        a, sx = quantize_activations(
            prepared(self.image.options, self.tensors, op.name, x), machine.act_bits)
        y = qm(a)
        launched = op.one is not None and self.launches.reports.cycles
        columns = qm.by_column(a)
        product = Product(operator=op.role, name=op.name, datatype=op.chosen.name,
                          spec=op.spec(machine, len(a)), a=columns, y=y,
                          packed=lambda plan: self.weights.packed(op, plan),
                          weights=lambda: self.weights.integers(op, columns.shape[1]),
                          launches=self.pieces.launches(op, len(a)) if launched else ())
        return product, dequantize_output(y, qm, sx, bias(self.image, op)).astype(x.dtype)

    def cache(self) -> AttentionCache:
        if self.form is None:
            return FloatCache(self.layers)
        return CodeCache(self.launches, self.form, self.layers)
