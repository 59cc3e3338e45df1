"""``python -m sim``: verify a GEMM on RTL, estimate cycles, run regressions and benchmarks."""

from bitwright.models.command_line.program import run_program
from bitwright.sim.commands.command_table import SIM


def main() -> None:
    """Run the commands of sim."""
    run_program(SIM, "python -m sim")


if __name__ == "__main__":
    main()
