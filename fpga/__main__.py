"""``python -m fpga``: what the machine costs on open FPGAs, and layers on boards."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bitwright.fpga.benchmarks.dsp_peak import dsp_peak
from bitwright.fpga.benchmarks.pe_density import CASES, bench, record
from bitwright.fpga.benchmarks.pe_density_page import HEADS, cells, page, verdicts
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.commands import boards as board_commands
from bitwright.fpga.commands import host as host_commands
from bitwright.fpga.commands import throughput as throughput_command
from bitwright.fpga.commands.command_table import FPGA
from bitwright.fpga.soc import sdram_timing
from bitwright.fpga.toolchain.synthesis import DEVICES
from bitwright.fpga.verification.netlist_check import (
    NetlistResult,
    check_bitstream,
    check_netlist,
    family_of,
)
from bitwright.fpga.verification.sdram_traffic import BURST
from bitwright.fpga.verification.sdram_traffic import bench as bench_sdram
from bitwright.hw.elements import ELEMENTS
from bitwright.hw.elements.element_option import Pe, known_element
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.machine.presets import machine as machine_of
from bitwright.models.command_line.options_and_files import overrides, say, write_text
from bitwright.models.command_line.program import run_program

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  rich_markup_mode=None)
Json = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]
Out = Annotated[Path | None, typer.Option(help="JSON file to write.")]
Seed = Annotated[int, typer.Option(min=0, help="Of place and route.")]


@app.callback()
def commands() -> None:
    """Size and speed on open FPGAs, by Yosys and nextpnr; memory controllers and boards by
    Verilator; layers on real boards."""


def _known(names: tuple[str, ...], value: str | None) -> str | None:
    if value is not None and value not in names:
        raise typer.BadParameter(f"must be one of {', '.join(names)}, not {value!r}")
    return value


def _device(value: str | None) -> str | None:
    return _known(tuple(DEVICES), value)


def _family(value: str | None) -> str | None:
    return _known(tuple(CHIP_FAMILIES), value)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def _print(found: dict) -> None:
    table = Table(*HEADS)
    for row in found["rows"]:
        table.add_row(*cells(row))
    console = _console()
    console.print(table)
    console.print("W1…W8: multiply-accumulates per cycle and 1,000 LUT4s, 8-bit activations")
    for text in verdicts(found):
        console.print(text)


@app.command("bench-pe")
def bench_pe(
    pe: Annotated[str | None, typer.Option(
        callback=known_element, help=f"One kind of element: {', '.join(ELEMENTS)}.")] = None,
    device: Annotated[str | None, typer.Option(
        callback=_device, help=f"One device: {', '.join(DEVICES)}.")] = None,
    k_tile: Annotated[int | None, typer.Option(
        "--k-tile", min=1, help="One size, in activations.")] = None,
    seed: Seed = 1, out: Out = None,
    page_: Annotated[Path | None, typer.Option("--page", help="Markdown file to write.")] = None,
    as_json: Json = False,
) -> None:
    """Every processing element: LUT4s by kind, Fmax, work per cycle and 1,000 LUT4s."""
    cases = [case for case in CASES
             if pe in (None, case.machine.pe) and device in (None, case.device)
             and k_tile in (None, case.machine.k_tile)]
    if not cases:
        raise typer.BadParameter("no element is measured with these; leave one of them out")
    found = record(bench(cases, seed=seed, say=say))
    if out is not None:
        write_text(out, json.dumps(found, indent=1) + "\n")
    if page_ is not None:
        write_text(page_, page(found))
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)


@app.command("dsp-peak")
def peak(seed: Seed = 1, out: Out = None, as_json: Json = False) -> None:
    """Ternary work of the whole array as a multiple of what the chip's DSP blocks do."""
    found = dsp_peak(seed=seed, say=say)
    if out is not None:
        write_text(out, json.dumps(found, indent=1) + "\n")
    if as_json:
        print(json.dumps(found))
        return
    table = Table("figure", "value")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), f"{value:,.2f}" if isinstance(value, float)
                      else f"{value:,}" if isinstance(value, int) else str(value))
    _console().print(table)


@app.command()
def sdram(
    clock_mhz: Annotated[float, typer.Option(
        "--clock", min=sdram_timing.LEAST_MHZ, max=sdram_timing.MOST_MHZ, help="In MHz.")] = 100,
    burst: Annotated[int, typer.Option(min=1, max=256, help="Beats of a burst.")] = BURST,
    seed: Annotated[int, typer.Option(min=0, help="Of the traffic's data.")] = 1,
    out: Out = None, as_json: Json = False,
) -> None:
    """The SDRAM controller against a checking model of the chip: efficiency and latency."""
    found = bench_sdram(clock_mhz=clock_mhz, burst=burst, seed=seed, say=say)
    if out is not None:
        write_text(out, json.dumps(found, indent=1) + "\n")
    if as_json:
        print(json.dumps(found))
        return
    table = Table("traffic", "beats per cycle", "MB/s")
    for kind, share in found["efficiency"].items():
        table.add_row(kind, f"{share:.1%}", f"{found['mb_per_s'][kind]:.1f}")
    console = _console()
    console.print(table)
    console.print("cycles from a read's address to its first beat: " + ", ".join(
        f"{name.replace('_', ' ')} {cycles}" for name, cycles in found["latency"].items()))


@app.command()
def netlist(
    machine: Annotated[str, typer.Option(
        "--machine", help=f"{', '.join(PRESETS)}, or a .toml or .json file.")] = "tiny",
    pe: Pe = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a field of the machine; repeatable.")] = None,
    family: Annotated[str | None, typer.Option(
        callback=_family, metavar="|".join(CHIP_FAMILIES),
        help="Chips to synthesize for; by the machine's fabric without it.")] = None,
    bitstream: Annotated[bool, typer.Option(
        "--bitstream", help="The core in a finished iCE40 bitstream, by icebox_vlog.")] = False,
    programs: Annotated[int, typer.Option(min=1, help="How many to run.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Number of the first program.")] = 0,
    as_json: Json = False,
) -> None:
    """Random programs on the netlist of the whole core: every bit and every counter must agree with
    the models. Exit status 1 if one does not."""
    config = machine_of(machine, overrides(settings), pe)
    chips = family_of(config, "ice40" if bitstream and family is None else family)
    if bitstream and chips != "ice40":
        raise typer.BadParameter(f"is for ice40, not {chips}", param_hint="--bitstream")
    found = (check_bitstream(config, programs=programs, seed=seed, say=say) if bitstream else
             check_netlist(config, chips, programs=programs, seed=seed, say=say))
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        _print_netlist(found)
    if found.failures:
        raise typer.Exit(1)


def _print_netlist(found: NetlistResult) -> None:
    print(f"{found.machine.name} for {found.family}: " + ", ".join(
        f"{count:,} {cell}" for cell, count in found.cells.items()))
    for failure in found.failures:
        print(f"FAILED {failure['case']}: " + (failure["error"] if "error" in failure else (
            f"{failure['mismatches']} accumulators differ, counters (netlist, model) "
            f"{failure['differences']}")))
    print(f"{found.programs} programs from seed {found.seed}, {found.cycles:,} cycles: "
          f"{len(found.failures)} differ")


board_commands.register(app)
host_commands.register(app)
throughput_command.register(app)


def main() -> None:
    """Run the commands of fpga."""
    run_program(FPGA, "python -m fpga")


if __name__ == "__main__":
    main()
