"""Describes a transformer by its sizes: its linear layers and other parameters, without weights.

:mod:`bitwright.models.architectures.families` reads a :class:`Transformer` from the configuration
of a known family.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bitwright.models.architectures.conventions import Conventions

__all__ = ["LinearShape", "Names", "Transformer"]


@dataclass(frozen=True, kw_only=True)
class LinearShape:
    """One matrix product, ``n`` outputs of ``k`` inputs; ``expert`` is its number in a mixture.

    ``tensor`` holds the weight, as [n, k] in its order or, ``transposed``, as [k, n]; a patch's
    projection has more axes, and a tied head is the embedding.

    ``role`` is one of ``patches``, ``query``, ``key``, ``value``, ``query_key_value``,
    ``attention_output``, ``ffn_gate``, ``ffn_up``, ``ffn_gate_up``, ``ffn_down``, ``pooler``,
    ``lm_head``, ``classifier``.
    """
    name: str
    role: str
    n: int
    k: int
    bias: bool
    expert: int | None = None
    tensor: str
    transposed: bool = False

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of the tensor, but of a patch's projection."""
        return (self.k, self.n) if self.transposed else (self.n, self.k)

    @property
    def bias_tensor(self) -> str | None:
        return f"{self.name}.bias" if self.bias else None


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names the parts of a model in a checkpoint, and says how they are stored.

    Names of a layer's parts stand behind that of the layer. Parts that a family has not are empty.

    Parameters
    ----------
    layer : a layer, with ``{}`` for its number
    embedding, attention, residual : prefixes of operators that hold no tensor by themselves
    token_table, position_table, segment_table, class_token : tensors of the embedding
    qkv : the matrices of query, key and value, or the one that holds all three
    output : the matrix behind attention
    inner, down : the matrices of the feed-forward. ``inner`` is gate and up, the one matrix that
        holds both, or up alone
    norms : the norms of attention and feed-forward. A single one serves both, side by side
    sub_norms : the norms in front of ``output`` and of ``down``
    expert : prefix of an expert's ``inner`` and ``down``, with ``{}`` for its number
    router : the matrix that chooses experts
    embedding_norm, final_norm : the norms in front of the layers and behind them
    patches, pooler, head : the matrices around the layers
    unused : patterns, with ``*``, of tensors that are not read
    prefix : a prefix of all names but the head's that a checkpoint may leave out or add
    transposed : whether the layers' matrices are stored as [k, n]
    neighbours : whether rotary pairs are rows (2i, 2i + 1) of a head, not (i, i + half)
    """
    embedding: str
    layer: str
    qkv: tuple[str, ...]
    attention: str
    output: str
    inner: tuple[str, ...]
    down: str
    norms: tuple[str, ...]
    token_table: str = ""
    position_table: str = ""
    segment_table: str = ""
    class_token: str = ""
    residual: str = "attention_residual"
    expert: str = ""
    router: str = ""
    sub_norms: tuple[str, ...] = ()
    embedding_norm: str = ""
    final_norm: str = ""
    patches: str = ""
    pooler: str = "pooler.dense"
    head: str = "lm_head"
    unused: tuple[str, ...] = ()
    prefix: str = ""
    transposed: bool = False
    neighbours: bool = False


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """One stack of equal layers.

    Parameters
    ----------
    vocabulary : rows of the token embedding; 0 where images come in
    outputs : channels of the head; 0 for none
    tied : the head is the token embedding
    positions : tokens of a sequence at most; 0 where nothing limits them
    position_rows, segment_rows : rows of these embeddings. Positions take the last
        ``positions`` rows
    patch : inputs of a patch's projection, and how many patches; zeros where tokens come in
    gated : the feed-forward has a gate beside ``up``
    experts, chosen : feed-forward blocks per layer, and how many of them a token visits
    norm_vectors : vectors of a norm: 1, gain alone; 2, gain and bias
    norm_first : norms stand before attention and feed-forward, else behind their residuals
    sub_norms : norms before the attention's output and before ``down`` too
    causal : a token reads those before it and itself, else all
    """
    family: str
    names: Names
    conventions: Conventions = field(compare=False, repr=False)
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    outputs: int = 0
    tied: bool = False
    positions: int = 0
    position_rows: int = 0
    segment_rows: int = 0
    patch: int = 0
    patches: int = 0
    gated: bool = False
    rotary: bool = False
    experts: int = 1
    chosen: int = 1
    norm_vectors: int = 2
    norm_first: bool = True
    sub_norms: bool = False
    qkv_bias: bool = True
    output_bias: bool = True
    ffn_bias: bool = True
    head_bias: bool = False
    pooler: bool = False
    causal: bool = True

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        return self.kv_heads * self.head_dim

    def expert_tokens(self, tokens: int) -> tuple[int, ...]:
        """Tokens that each expert of a layer sees, as even as they can be."""
        each, rest = divmod(tokens * self.chosen, self.experts)
        return tuple(each + (expert < rest) for expert in range(self.experts))

    def layer(self, number: int) -> Iterator[LinearShape]:
        """Linear layers of one layer, in order of execution, all experts of a mixture."""
        names, prefix = self.names, self.names.layer.format(number)

        def linear(name: str, role: str, n: int, k: int, bias: bool,
                   expert: int | None = None) -> LinearShape:
            return LinearShape(name=f"{prefix}.{name}", role=role, n=n, k=k, bias=bias,
                               expert=expert, tensor=f"{prefix}.{name}.weight",
                               transposed=names.transposed)

        widths = self.query_width, self.key_width, self.key_width
        if len(names.qkv) == 1:
            yield linear(names.qkv[0], "query_key_value", sum(widths), self.hidden, self.qkv_bias)
        else:
            for name, role, n in zip(names.qkv, ("query", "key", "value"), widths, strict=True):
                yield linear(name, role, n, self.hidden, self.qkv_bias)
        yield linear(names.output, "attention_output", self.hidden, self.query_width,
                     self.output_bias)
        roles = {(1, False): ("ffn_up",), (1, True): ("ffn_gate_up",),
                 (2, True): ("ffn_gate", "ffn_up")}[len(names.inner), self.gated]
        inner = self.ffn * (1 + self.gated) // len(roles)
        for expert in range(self.experts):
            number_of = expert if self.experts > 1 else None
            before = names.expert.format(expert)
            for name, role in zip(names.inner, roles, strict=True):
                yield linear(before + name, role, inner, self.hidden, self.ffn_bias, number_of)
            yield linear(before + names.down, "ffn_down", self.hidden, self.ffn, self.ffn_bias,
                         number_of)

    def linears(self) -> Iterator[LinearShape]:
        """Every linear layer of the model, in order of execution."""
        names = self.names
        if self.patches:
            yield LinearShape(name=names.patches, role="patches", n=self.hidden, k=self.patch,
                              bias=True, tensor=f"{names.patches}.weight")
        for number in range(self.layers):
            yield from self.layer(number)
        if self.pooler:
            yield LinearShape(name=names.pooler, role="pooler", n=self.hidden, k=self.hidden,
                              bias=True, tensor=f"{names.pooler}.weight")
        if self.outputs:
            yield LinearShape(name=names.head, n=self.outputs, k=self.hidden,
                              role="lm_head" if self.vocabulary else "classifier",
                              bias=self.head_bias,
                              tensor=names.token_table if self.tied else f"{names.head}.weight")

    @property
    def parameters(self) -> int:
        """Return the number of parameters of the whole model, a tied head once."""
        matrices = sum(linear.n * (linear.k + linear.bias) for linear in self.linears())
        if self.tied:
            matrices -= self.outputs * self.hidden
        names = self.names
        per_layer = len(names.norms) * self.hidden + self.sub_norms * (self.hidden + self.ffn)
        others = bool(names.embedding_norm) + bool(names.final_norm)
        norms = self.norm_vectors * (self.layers * per_layer + others * self.hidden)
        rows = self.vocabulary + self.position_rows + self.segment_rows + bool(names.class_token)
        routers = self.layers * self.experts * self.hidden if self.experts > 1 else 0
        return matrices + norms + routers + rows * self.hidden
