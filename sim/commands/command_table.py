"""Lists the commands of ``bitwright sim``."""

from bitwright.models.command_line.command_table import Command, Group

__all__ = ["SIM"]

SIM = Group("sim", "Simulation, cycle estimates, and comparison of RTL with the models.", (
    Command("verify", "bitwright.sim.commands.verify:verify",
            "Run one random GEMM on RTL, golden model and cycle model, and compare them."),
    Command("estimate", "bitwright.sim.commands.estimate:estimate",
            "Estimate the cycles of a GEMM of any size by the cycle model."),
    Command("published", "bitwright.sim.commands.published:published",
            "Estimate a whole model's cycles on an accelerator from a publication."),
    Command("fuzz", "bitwright.sim.commands.fuzz:fuzz",
            "Run random programs on RTL, and compare every bit and counter with the models."),
    Command("matrix", "bitwright.sim.commands.matrix:matrix",
            "Run every datatype on every machine, and compare RTL with the models."),
    Command("regress", "bitwright.sim.commands.regress:regress",
            "Run the cocotb regression of the whole core."),
    Command("bench", "bitwright.sim.commands.bench:bench",
            "Measure roofline efficiency and the speed of simulation and models."),
    Command("formal", "bitwright.sim.commands.formal:formal",
            "Prove properties of the circuits for all inputs."),
))
