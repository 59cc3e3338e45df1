"""mxfp4 as gpt-oss stores experts: ``…_blocks`` U8 [E, O, I/32, 16], the low nibble being the even
element, and ``…_scales`` U8 E8M0 [E, O, I/32].

A layer is one expert: module ``model.layers.0.mlp.experts.down_proj.3`` is expert 3 of the tensors
``model.layers.0.mlp.experts.down_proj_blocks`` and ``…_scales``.
"""

from bitwright.compiler.layouts.layer_tensors import Layer, Tensors, e8m0, nibbles
from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.datatypes.catalog import DATATYPES

BLOCK = 32


class Mxfp4(Layout):
    name = "mxfp4"
    summary = "experts as `…_blocks` and `…_scales`"
    datatypes = ("fp4",)
    suffixes = ("_blocks", "_scales")
    marks = ("_blocks",)

    def layer(self, tensors: Tensors, module: str) -> Layer:
        return super().layer(tensors, module.rpartition(".")[0])

    def read(self, tensors: Tensors, module: str, n: int, k: int) -> NativeMatrix:
        layer, number = self.layer(tensors, module), module.rpartition(".")[2]
        if k % BLOCK:
            raise layer.error("_blocks", f"cannot be of layout mxfp4: {k} input features are no "
                                         f"multiple of {BLOCK}")
        layer.check("_blocks", ("U8",), (None, n, k // BLOCK, BLOCK // 2))
        experts = tensors.shape(layer.name("_blocks"))[0]
        if not (number.isascii() and number.isdigit() and int(number) < experts):
            raise layer.error("_blocks", f"has experts 0...{experts - 1}, not {number!r}")
        layer.check("_scales", ("U8", "F8_E8M0"), (experts, n, k // BLOCK))
        expert = int(number)
        codes = nibbles(tensors.raw(layer.name("_blocks"), expert)).reshape(n, k)
        scale = e8m0(tensors.raw(layer.name("_scales"), expert),
                     lambda at: layer.error("_scales", f"at {[expert, *at]} is 255, which is NaN "
                                                       "in E8M0: the checkpoint is damaged"))
        return NativeMatrix(layout=self.name, datatype=DATATYPES["fp4"], group_size=BLOCK,
                            k_logical=k, codes=codes, scale=scale)
