"""Lists the commands of ``bitwright fpga``."""

from bitwright.models.command_line.command_table import Command, Group

__all__ = ["FPGA"]

FPGA = Group("fpga", "Boards, bitstreams, and size and speed on open FPGAs.", (
    Command("boards", "bitwright.fpga.commands.boards:list_boards",
            "List the boards, their chips, and the machine built for each by default."),
    Command("build", "bitwright.fpga.commands.build:build_bitstream",
            "Build a bitstream: synthesis, place and route, packing."),
    Command("program", "bitwright.fpga.commands.boards:program_board",
            "Load a bitstream into a board that is plugged in."),
    Command("run", "bitwright.fpga.commands.host:run",
            "Run one layer of a mapped model on a board, and compare it with the golden model."),
    Command("board-sim", "bitwright.fpga.commands.host:board_sim",
            "Simulate a whole board, and run a layer through its serial port."),
    Command("resources", "bitwright.fpga.commands.boards:resources",
            "Compare the model of a machine's resources with the syntheses behind it."),
    Command("throughput", "bitwright.fpga.commands.throughput:throughput_command",
            "Estimate GMAC/s on a board, and compare with the chip's DSP blocks."),
    Command("bench-pe", "bitwright.fpga.commands.bench_pe:bench_pe",
            "Measure every processing element: LUT4s, Fmax, work per cycle."),
    Command("dsp-peak", "bitwright.fpga.commands.dsp_peak:peak",
            "Measure ternary work of the whole array against the chip's DSP blocks."),
    Command("link-size", "bitwright.fpga.commands.link_size:link_size",
            "Measure the size and speed of the board's end of the link."),
    Command("sdram", "bitwright.fpga.commands.sdram:sdram",
            "Measure the SDRAM controller against a checking model of the chip."),
    Command("netlist", "bitwright.fpga.commands.netlist:netlist",
            "Run random programs on the core's netlist, and compare them with the models."),
))
