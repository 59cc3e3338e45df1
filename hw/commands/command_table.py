"""Lists the commands of ``bitwright hw``."""

from bitwright.models.command_line.command_table import Command, Group

__all__ = ["HW"]

HW = Group("hw", "Machines, their instructions, and their Verilog.", (
    Command("verilog", "bitwright.hw.commands.verilog:verilog", "Write the whole core as Verilog."),
    Command("machines", "bitwright.hw.commands.machines:machines",
            "List the machines known by name, and the fields of a machine."),
    Command("elements", "bitwright.hw.commands.elements:elements",
            "List the processing elements, those of plug-ins included."),
    Command("isa", "bitwright.hw.commands.isa:isa", "Print the instruction table."),
))
