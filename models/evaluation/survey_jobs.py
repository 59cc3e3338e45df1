"""Lists the jobs of a quality survey: a full one, a quick one, or one of chosen variants."""

from collections.abc import Sequence

from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.evaluation.survey_measure import MIXTURE_GROUP, MIXTURE_PARTS, Job
from bitwright.models.evaluation.variants import TEXTBOOK, Variant, variant
from bitwright.models.quantization.schemes import SCHEMES, scheme

__all__ = ["GROUP_SIZES", "plan"]

GROUP_SIZES = (16, 32, 64, 128, 256, 0)
MODELS = ("minilm", "smollm2")

# What SmolLM2 reads the text with, in the order of interest: a run cut short has the best part.
_READ = ("int8", "int4", "fp4", "bitmod4", "int6", "int3", "bitmod3", "int5", "rtn4", "rtn8",
         "rtn3", "rtn6", "rtn5")
_READ_LATER = ("int4:asym", "nf4", "mxfp4", "nvfp4", "fp3", "int3:asym", "fp6_e2m3", "fp5_e2m2",
               "mxint8", "bitmod4_mse", "bitmod3_mse", "mxfp6_e2m3", "dint4", "int4:clip",
               "fp4mix_o8", "fp3mix_o8", "pot4", "int2:asym", "ternary")
_READ_QUICK = ("int8", "int4", "fp4", "bitmod4", "int3")
_SWEPT = ("int8", "int6", "int4", "int3", "fp4", "fp3", "nf4", "ternary")  # SmolLM2, all sizes
_SLOW = ("bcq2", "bcq3", "bcq4")


def _sweep(names: Sequence[str], sizes: Sequence[int]) -> list[Variant]:
    """Every name at every group size, or at its own where it has but one."""
    found = []
    for name in names:
        block = name.split(":")[0] in SCHEMES and scheme(name.split(":")[0]).block
        for size in (None,) if block else sizes:
            found.append(variant(name, size))
    return found


def _mixture(model: str, name: str) -> Job:
    return Job("mixture", model, Variant(name, MIXTURE_GROUP))


def plan(weights: Sequence[str] = (), sizes: Sequence[int] = (), *, quick: bool = False
         ) -> list[Job]:
    """Jobs of a survey, the most telling first.

    Parameters
    ----------
    weights : variants to measure, in place of the usual ones
    sizes : group sizes, in place of each variant's own (text) and of :data:`GROUP_SIZES` (errors)
    quick : a handful of variants, at one group size each
    """
    def read(names: Sequence[str]) -> list[Job]:
        return [Job("text", "smollm2", v) for name in names
                for v in (_sweep([name], sizes) if sizes else [variant(name)])]

    def errors(model: str, names: Sequence[str], default: Sequence[int]) -> list[Job]:
        return [Job("error", model, v) for v in _sweep(names, sizes or default)]

    jobs = [Job("shipped", "smollm2")]
    if weights or quick:
        chosen = weights or _READ_QUICK
        jobs += read(chosen) + errors("minilm", chosen, (64,))
        return jobs + ([] if weights else [_mixture("minilm", "bitmod4")])
    jobs += read(_READ) + [_mixture(model, name) for model in MODELS for name in MIXTURE_PARTS]
    every = [name for name in dict.fromkeys((*TEXTBOOK, *DATATYPES, *SCHEMES))
             if name not in _SLOW]
    jobs += errors("minilm", every, GROUP_SIZES)
    jobs += [Job("error", "minilm", variant(name)) for name in _SLOW]
    jobs += read(_READ_LATER)
    return jobs + [job for job in errors("smollm2", _SWEPT, GROUP_SIZES)
                   if Job("text", "smollm2", job.variant) not in jobs]
