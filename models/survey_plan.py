"""Which jobs a quality survey has: a full one, a quick one, or one of chosen variants."""

from collections.abc import Sequence

from models.formats import DATATYPES
from models.quantize import SCHEMES, scheme
from models.survey_work import MIXTURE_GROUP, MIXTURE_PARTS, Job
from models.variants import TEXTBOOK, Variant, variant

__all__ = ["GROUP_SIZES", "plan"]

GROUP_SIZES = (16, 32, 64, 128, 256, 0)
MODELS = ("minilm", "smollm2")

# What SmolLM2 reads the text with, in the order of interest: a run cut short has the best part.
_READ = ("int8", "int4", "fp4", "bitmod4", "int6", "int3", "bitmod3", "int5", "rtn4", "rtn8",
         "rtn3", "rtn6", "rtn5", "int4:asym", "nf4", "mxfp4", "nvfp4", "fp3", "int3:asym",
         "fp6_e2m3", "fp5_e2m2", "mxint8", "bitmod4_mse", "bitmod3_mse", "mxfp6_e2m3", "dint4",
         "int4:clip", "fp4mix_o8", "fp3mix_o8", "pot4", "int2:asym", "ternary")
_READ_QUICK = ("int8", "int4", "fp4", "bitmod4", "int3")
_SWEPT = ("int8", "int6", "int4", "int3", "fp4", "fp3", "nf4", "ternary")  # SmolLM2, all sizes
_MIXTURES_AT = 14  # jobs before them
_SLOW = ("bcq2", "bcq3", "bcq4")


def _sweep(names: Sequence[str], sizes: Sequence[int]) -> list[Variant]:
    """Every name at every group size, or at its own where it has but one."""
    found = []
    for name in names:
        block = name.split(":")[0] in SCHEMES and scheme(name.split(":")[0]).block
        for size in (None,) if block else sizes:
            found.append(variant(name, size))
    return found


def plan(weights: Sequence[str] = (), sizes: Sequence[int] = (), *, quick: bool = False
         ) -> list[Job]:
    """Jobs of a survey, the most telling first.

    Parameters
    ----------
    weights : variants to measure, in place of the usual ones
    sizes : group sizes, in place of each variant's own (text) and of :data:`GROUP_SIZES` (errors)
    quick : a handful of variants, at one group size each
    """
    read = weights or (_READ_QUICK if quick else _READ)
    jobs = [Job("shipped", "smollm2")]
    for name in read:
        jobs += [Job("text", "smollm2", v)
                 for v in (_sweep([name], sizes) if sizes else [variant(name)])]
    all_names = tuple(n for n in (*TEXTBOOK, *DATATYPES, *SCHEMES) if n not in _SLOW)
    if weights or quick:
        jobs += [Job("error", "minilm", v) for v in _sweep(read, sizes or (64,))]
    else:
        jobs += [Job("error", "minilm", v) for v in _sweep(all_names, sizes or GROUP_SIZES)]
        jobs += [Job("error", "minilm", variant(name)) for name in _SLOW]
        jobs += [Job("error", "smollm2", v) for v in _sweep(_SWEPT, sizes or GROUP_SIZES)
                 if Job("text", "smollm2", v) not in jobs]
    if not weights:
        at = len(jobs) if quick else _MIXTURES_AT
        jobs[at:at] = [Job("mixture", model, Variant(name, MIXTURE_GROUP))
                       for model in (MODELS[:1] if quick else MODELS)
                       for name in (["bitmod4"] if quick else MIXTURE_PARTS)]
    return list(dict.fromkeys(jobs))
