"""Lists the weight datatypes and mixtures.

:data:`DATATYPES` and :data:`MIXTURES` are the registries. A plug-in adds a datatype by
``DATATYPES.register(codebook(...))``.
"""

from collections.abc import Mapping

from bitwright.models.datatypes.codebooks import (
    NF4,
    binary_coded,
    dint4,
    minifloat,
    posit8,
    power_of_two,
    signed,
    twos_complement,
    with_negative_zero,
)
from bitwright.models.datatypes.custom import load_datatype
from bitwright.models.datatypes.datatype import Datatype, codebook
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.errors import UnknownNameError
from bitwright.models.plugins.registry import Registry

__all__ = ["BUILT_IN", "DATATYPES", "MIXTURES", "Datatype", "Mixture", "datatype"]

_FP3 = signed((0, 1, 2, 4))
_FP4 = signed((0, 1, 2, 3, 4, 6, 8, 12))   # E2M1, doubled


def _special3(name: str, value: int | None, bits: int = 3) -> Datatype:
    return codebook(name, with_negative_zero(_FP3, value), bits=bits)


def _special4(name: str, value: int) -> Datatype:
    return codebook(name, with_negative_zero(_FP4, 2 * value), -1)


DATATYPES: Registry[Datatype] = Registry("datatype", (
    *(codebook(f"int{b}", (-1, 1) if b == 1 else twos_complement(b)) for b in range(1, 9)),
    codebook("ternary", (0, 1, None, -1)),
    codebook("fp4", _FP4, -1),
    codebook("int2star", (0, 1, 2, None, None, None, -2, -1)),
    _special3("fp3", None),
    _special3("fp3_er_pos", 3),
    _special3("fp3_er_neg", -3),
    _special3("fp3_ea_pos", 6),
    _special3("fp3_ea_neg", -6),
    _special4("fp4_er_pos", 5),
    _special4("fp4_er_neg", -5),
    _special4("fp4_ea_pos", 8),
    _special4("fp4_ea_neg", -8),
    minifloat("fp5_e2m2", 2, 2),
    minifloat("fp5_e3m1", 3, 1),
    minifloat("fp6_e3m2", 3, 2),
    minifloat("fp6_e2m3", 2, 3),
    minifloat("fp8_e4m3", 4, 3, "nan"),
    minifloat("fp8_e5m2", 5, 2, "ieee"),
    codebook("nf4", NF4),
    dint4(),
    power_of_two("pot3", 3),
    power_of_two("pot4", 4),
    *(binary_coded(f"bcq{planes}", planes) for planes in (2, 3, 4)),
    posit8("posit8_es0", 0),
    posit8("posit8_es1", 1),
    codebook("mxint8", twos_complement(8), -6),
))

MIXTURES: Registry[Mixture] = Registry("mixture", (
    # The candidates of BitMoD, in the order of its Algorithm 1: -5, +5, -8, +8; -3, +3, -6, +6.
    Mixture("bitmod4", tuple(DATATYPES[f"fp4_{special}"]
                             for special in ("er_neg", "er_pos", "ea_neg", "ea_pos"))),
    Mixture("bitmod3", tuple(DATATYPES[f"fp3_{special}"]
                             for special in ("er_neg", "er_pos", "ea_neg", "ea_pos"))),
    # With int4 among the candidates, so that two groups of it can form 8-bit weights. The
    # three-bit types keep their codes, in four bits.
    Mixture("fp4mix_o8", (*(DATATYPES[f"fp4_{special}"]
                            for special in ("er_neg", "er_pos", "ea_pos")), DATATYPES["int4"])),
    Mixture("fp3mix_o8", (_special3("fp3_er_neg_in4", -3, 4), _special3("fp3_er_pos_in4", 3, 4),
                          _special3("fp3_ea_pos_in4", 6, 4), DATATYPES["int4"])),
))

BUILT_IN: Mapping[str, Datatype | Mixture] = {**DATATYPES, **MIXTURES}
"""The types of every installation. Images hold the codebooks of all others."""


def datatype(name: str) -> Datatype | Mixture:
    """The datatype or mixture called ``name``, or the datatype of a file ``NAME.toml``
    (:func:`load_datatype`). ``ValueError`` names the known ones."""
    if name.endswith(".toml"):
        found = load_datatype(name)
        if found.name in DATATYPES or found.name in MIXTURES:
            raise ValueError(f"name in {name} must be a new one, not {found.name!r}")
        return found
    if name in DATATYPES:
        return DATATYPES[name]
    if name in MIXTURES:
        return MIXTURES[name]
    raise UnknownNameError(f"datatype must be one of {', '.join((*DATATYPES, *MIXTURES))}, or a "
                           f".toml file, not {name!r}")
