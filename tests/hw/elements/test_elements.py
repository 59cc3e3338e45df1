"""The registered elements agree with their circuits and codecs; software needs no circuit."""

import subprocess
import sys

import pytest
from amaranth.hdl import Value

from bitwright.hw.elements import CODES, ELEMENTS, PLANES, Element, loaded, register_element
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.element_codes import codec_of
from bitwright.hw.rtl.array.row import element as circuit
from bitwright.models.plugins import RegistryError

NAMES = list(ELEMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_machines_that_the_circuit_fits(name):
    element = ELEMENTS[name]
    assert element.form in (PLANES, CODES) and element.name == name
    assert element.samples and element.benches and element.densities
    for fields in (*element.samples, *element.benches):
        machine = Machine(pe=name, **fields)
        made = circuit(machine)
        made._MustUse__used = True
        assert len(Value.cast(made.slice_i)) == machine.slice_bits
        assert made.result_latency == machine.result_latency
        assert element.check(machine) is None and element.summary(machine)


@pytest.mark.parametrize("name", NAMES)
def test_codecs_and_circuits_are_found_by_name(name):
    machine = PRESETS["tiny"].with_pe(name)
    assert type(codec_of(machine)) is loaded(ELEMENTS[name].codec)
    assert codec_of(machine) is codec_of(machine.replace(rows=4))
    assert loaded(ELEMENTS[name].circuit).__module__.startswith("bitwright.hw.rtl.pe.")


def test_a_name_is_given_once():
    with pytest.raises(RegistryError, match="element 'mac' is registered twice"):
        register_element(type(ELEMENTS["mac"])())
    with pytest.raises(RegistryError, match="unknown element 'max', did you mean 'mac'"):
        ELEMENTS["max"]


def test_an_element_without_widths_is_not_made():
    class Unfinished(Element):
        name = "unfinished"

    with pytest.raises(TypeError, match="lane_bits"):
        Unfinished()


def test_packing_planning_and_the_cycle_model_import_no_circuit():
    code = ("import bitwright.hw.packing.weight_image, bitwright.hw.codegen.gemm_program, "
            "bitwright.sim.cycle_model.model, sys; "
            "assert not {'amaranth', 'bitwright.hw.rtl.pe'} & sys.modules.keys()")
    subprocess.run([sys.executable, "-c", code], check=True)
