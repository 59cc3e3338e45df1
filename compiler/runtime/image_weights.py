"""The matrices of a mapped image: ready for products, and packed for any number of tokens."""

from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.program import LinearOp
from bitwright.compiler.runtime.run_layer import matrix, stored_weights
from bitwright.hw.packing.weight_image import PackedWeights, pack_weights
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.models.inference.golden import PreparedMatrix

__all__ = ["ImageWeights"]

PREPARED_BYTES = 4 << 30    # of prepared matrices kept, 8 bytes per weight
PACKED_BYTES = 256 << 20    # of weights packed anew kept


def _order(plan: Plan) -> tuple[object, ...]:
    """Return what the order of packed weights depends on, besides the matrix."""
    return plan.tiles, plan.subs, plan.k_tiles


class ImageWeights:
    """Prepared matrices are kept until they take ``PREPARED_BYTES``; those beyond are read from the
    image for every product, so that memory holds one of them at a time. What was packed anew stays
    while it is among the last ``PACKED_BYTES``."""

    def __init__(self, image: Image, prepared_bytes: int = PREPARED_BYTES,
                 packed_bytes: int = PACKED_BYTES) -> None:
        self.image, self._prepared_bytes, self._packed_bytes = image, prepared_bytes, packed_bytes
        self._prepared: dict[str, PreparedMatrix] = {}
        self._packed: OrderedDict[tuple[object, ...], PackedWeights] = OrderedDict()
        self._lock = Lock()

    def prepared(self, op: LinearOp) -> PreparedMatrix:
        if (found := self._prepared.get(op.name)) is None:
            found = PreparedMatrix(matrix(self.image, op))
            kept = sum(other.nbytes for other in self._prepared.values())
            if kept + found.nbytes <= self._prepared_bytes:
                self._prepared[op.name] = found
        return found

    def integers(self, op: LinearOp, columns: int) -> NDArray[np.int64]:
        """The integers that activations meet, [n, columns], by stored column."""
        return matrix(self.image, op).effective[:, :columns]

    def packed(self, op: LinearOp, plan: Plan) -> PackedWeights:
        """Return the weights as the image stores them if ``plan`` has the order of the mapped one;
        else pack them anew. May be called by several threads."""
        if _order(plan) == _order(op.planned):
            return stored_weights(self.image, op)
        key = (op.name, *_order(plan))
        with self._lock:
            if (found := self._packed.get(key)) is not None:
                self._packed.move_to_end(key)
                return found
        found = pack_weights(plan, matrix(self.image, op))
        with self._lock:
            self._packed[key] = found
            while sum(len(p.weights) + len(p.scales)
                      for p in self._packed.values()) > self._packed_bytes:
                self._packed.popitem(last=False)
        return found
