"""Lists the commands of ``bitwright models``."""

from bitwright.models.command_line.command_table import Command, Group

__all__ = ["MODELS"]

MODELS = Group("models", "Datatypes, models, and what quantizing loses.", (
    Command("formats", "bitwright.models.commands.formats:formats",
            "List weight datatypes, mixtures and schemes."),
    Command("error", "bitwright.models.commands.error:error",
            "Measure the squared errors of a checkpoint's quantized matrices."),
    Command("quality", "bitwright.models.commands.quality:quality",
            "Measure perplexity and weight errors of real models by datatype."),
    Command("effects", "bitwright.models.commands.effects:effects",
            "Measure what rotations or integer functions change at a model's end."),
    Command("fetch", "bitwright.models.commands.fetch:fetch",
            "Fetch the two models, or the named ones, and print their folders."),
    Command("integer-errors", "bitwright.models.commands.integer_errors:integer_errors",
            "Measure the greatest errors of integer functions, beside published forms."),
))
