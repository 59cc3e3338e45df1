"""Lists the commands of the compiler."""

from bitwright.models.command_line.command_table import Command, Group

__all__ = ["COMPILER"]

COMPILER = Group("compiler", "Maps a checkpoint to programs for a low-bit matrix machine.", (
    Command("map", "bitwright.compiler.commands.map:map_",
            "Map every linear layer of a checkpoint: programs, weights and a report."),
    Command("run", "bitwright.compiler.commands.run:run",
            "Run one layer of a mapped model, or a text through the whole model."),
    Command("generate", "bitwright.compiler.commands.generate:generate_",
            "Continue a prompt with a mapped decoder, token by token."),
    Command("perplexity", "bitwright.compiler.commands.perplexity:perplexity",
            "Measure a mapped decoder's perplexity on a text."),
    Command("disasm", "bitwright.compiler.commands.disasm:disasm",
            "Print a mapped model's programs, one instruction per line."),
    Command("trace", "bitwright.compiler.commands.trace:trace",
            "Write what each engine does, cycle by cycle, in Chrome's trace format."),
    Command("schedule", "bitwright.compiler.commands.schedule:schedule_command",
            "Compare DRAM bytes and cycles of the two schedulers, layer by layer."),
    Command("sweep", "bitwright.compiler.commands.sweep:sweep_command",
            "Estimate workloads on several machines: cycles, and the LUTs of the machine."),
    Command("demo", "bitwright.compiler.commands.demo:demo",
            "Map MiniLM and run one of its layers on the RTL."),
    Command("bench", "bitwright.compiler.commands.bench:bench",
            "Measure time and peak memory of mapping, and time of estimating."),
))
