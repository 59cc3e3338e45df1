"""Lists the commands of ``bitwright hw``."""

from bitwright.models.command_line.command_table import Command, Group

__all__ = ["HW"]

HW = Group("hw", "Machines, their instructions, and their Verilog.", (
    Command("verilog", "bitwright.hw.__main__:verilog", "Write the whole core as Verilog."),
    Command("machines", "bitwright.hw.__main__:machines",
            "List the machines known by name, and the fields of a machine."),
    Command("isa", "bitwright.hw.__main__:isa", "Print the instruction table."),
))
