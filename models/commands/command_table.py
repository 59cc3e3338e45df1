"""Lists the commands of ``bitwright models``."""

from bitwright.models.command_line.command_table import Command, Group

__all__ = ["MODELS"]

MODELS = Group("models", "Datatypes, models, and what quantizing loses.", (
    Command("formats", "bitwright.models.__main__:formats",
            "List weight datatypes, mixtures and schemes."),
    Command("error", "bitwright.models.__main__:error",
            "Measure the squared errors of a checkpoint's quantized matrices."),
    Command("quality", "bitwright.models.__main__:quality",
            "Measure perplexity and weight errors of real models by datatype."),
    Command("effects", "bitwright.models.commands.effects:effects",
            "Measure what rotations or integer functions change at a model's end."),
))
