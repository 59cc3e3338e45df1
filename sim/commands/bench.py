"""The command ``bench``."""

from bitwright.models.command_line.option_groups import Json, JsonFile
from bitwright.models.command_line.options_and_files import say
from bitwright.sim.performance.benchmark import run_bench

__all__ = ["bench"]


def bench(out: JsonFile = None, as_json: Json = False) -> None:
    """Measure roofline efficiency and the speed of simulation and models."""
    run_bench(out, as_json, say)
