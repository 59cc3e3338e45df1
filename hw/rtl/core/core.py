"""The whole core: engines, token queues, control, with its two AXI buses."""

from amaranth import *
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.isa.instruction_table import Queue
from bitwright.hw.machine.control_interface import EVENT_NAMES
from bitwright.hw.rtl.array.execute_engine import ExecuteEngine
from bitwright.hw.rtl.core.control_registers import Control
from bitwright.hw.rtl.core.dispatcher import Dispatcher
from bitwright.hw.rtl.core.load_engine import PROGRAM_TARGET, LoadEngine
from bitwright.hw.rtl.core.store_engine import StoreEngine
from bitwright.hw.rtl.primitives.axi_ports import AXI4_LITE_PORTS, AXI4_PORTS
from bitwright.hw.rtl.primitives.local_reset import later_reset
from bitwright.hw.rtl.primitives.token_queue import TokenQueue

__all__ = ["Core", "core_verilog", "core_ports"]

MEMORY, CONTROL = "m_axi_", "s_axil_"


class Core(wiring.Component):
    """AXI4 manager ``m_axi_*`` to external memory, AXI4-Lite subordinate ``s_axil_*`` for
    control. One clock ``clk``, synchronous ``rst``."""

    def __init__(self, config):
        self._config = config
        super().__init__({
            **{MEMORY + name: port for name, port in AXI4_PORTS(config.memory_bits).items()},
            **{CONTROL + name: port for name, port in AXI4_LITE_PORTS.items()},
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.control = control = Control(config)
        clear = later_reset(m, "engines", control.clear)
        dispatch, load = Dispatcher(config), LoadEngine(config)
        execute, store = ExecuteEngine(config), StoreEngine(config)
        queues = [TokenQueue() for _ in Queue.names]
        m.submodules.dispatch, m.submodules.load = clear(dispatch), clear(load)
        m.submodules.execute, m.submodules.store = clear(execute), clear(store)
        for name, queue in zip(Queue.names, queues, strict=True):
            # A program brings its own credits: what the one before left would double them.
            m.submodules[f"queue_{name}"] = clear(ResetInserter(control.start)(queue))
        w_ready, a_ready, w_free, a_free, out_ready, out_free = queues

        for name, member in AXI4_LITE_PORTS.items():
            outer, inner = getattr(self, CONTROL + name), getattr(control, name)
            m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        self._memory(m, load, store)
        events = {
            "load_busy": load.beat, "load_wait_w_free": load.wait_w,
            "load_wait_a_free": load.wait_a, "execute_busy": execute.busy,
            "execute_wait_w_ready": execute.wait_w, "execute_wait_a_ready": execute.wait_a,
            "execute_wait_out_free": execute.wait_out,
            "execute_wait_tables": execute.wait_tables, "store_busy": store.beat,
            "store_wait_out_ready": store.wait,
        }
        assert events.keys() == {*EVENT_NAMES}
        m.d.comb += [
            # dispatch
            dispatch.start.eq(control.start), dispatch.address.eq(control.program),
            dispatch.length.eq(control.length), dispatch.stop.eq(control.stop),
            dispatch.program_done.eq(load.program_done),
            dispatch.engines_idle.eq(load.idle & execute.idle & store.idle),
            dispatch.write_en.eq(load.write_en & (load.write_target == PROGRAM_TARGET)),
            dispatch.write_addr.eq(load.write_addr), dispatch.write_data.eq(load.write_data),
            load.instr.eq(dispatch.load), load.instr_valid.eq(dispatch.load_valid),
            dispatch.load_ready.eq(load.instr_ready),
            execute.instr.eq(dispatch.exec), execute.instr_valid.eq(dispatch.exec_valid),
            dispatch.exec_ready.eq(execute.instr_ready),
            store.instr.eq(dispatch.store), store.instr_valid.eq(dispatch.store_valid),
            dispatch.store_ready.eq(store.instr_ready),
            # buffers
            execute.write_en.eq(load.write_en), execute.write_target.eq(load.write_target),
            execute.write_addr.eq(load.write_addr), execute.write_data.eq(load.write_data),
            execute.write_broadcast.eq(load.write_broadcast),
            execute.read_addr.eq(store.read_addr), execute.read_row.eq(store.read_row),
            execute.read_part.eq(store.read_part), store.read_data.eq(execute.read_data),
            # tokens
            w_ready.give.eq(load.give_w), execute.ready_w.eq(w_ready.ready),
            w_ready.take.eq(execute.take_w),
            a_ready.give.eq(load.give_a), execute.ready_a.eq(a_ready.ready),
            a_ready.take.eq(execute.take_a),
            w_free.give.eq(execute.give_w), load.ready_w.eq(w_free.ready),
            w_free.take.eq(load.take_w),
            a_free.give.eq(execute.give_a), load.ready_a.eq(a_free.ready),
            a_free.take.eq(load.take_a),
            out_ready.give.eq(execute.give_out), store.ready.eq(out_ready.ready),
            out_ready.take.eq(store.take),
            out_free.give.eq(store.give), execute.ready_out.eq(out_free.ready),
            out_free.take.eq(execute.take_out),
            # control
            load.stop.eq(control.stop), store.stop.eq(control.stop),
            control.quiet.eq(load.quiet & store.quiet), control.done.eq(dispatch.done),
            control.running.eq(dispatch.running),
            control.error_unknown.eq(dispatch.unknown), control.error_read.eq(load.error),
            control.error_write.eq(store.error),
            control.events.eq(Cat(events[name] for name in EVENT_NAMES)),
        ]
        for index, queue in enumerate(queues):
            m.d.comb += [queue.credit.eq(dispatch.credit_count), queue.credit_valid.eq(
                dispatch.credit_valid & (dispatch.credit_queue == index))]
        return m

    def _memory(self, m, load, store):
        bus = {name: getattr(self, MEMORY + name) for name in AXI4_PORTS(
            self._config.memory_bits)}
        m.d.comb += [bus["rready"].eq(1), bus["bready"].eq(1)]
        for engine, outputs, inputs in (
                (load, ("araddr", "arlen", "arvalid"),
                 ("arready", "rdata", "rresp", "rlast", "rvalid")),
                (store, ("awaddr", "awlen", "awvalid", "wdata", "wlast", "wvalid"),
                 ("awready", "wready", "bresp", "bvalid"))):
            m.d.comb += [bus[name].eq(getattr(engine, name)) for name in outputs]
            m.d.comb += [getattr(engine, name).eq(bus[name]) for name in inputs]


def core_ports(config):
    """Ports of the core in order: name, direction, width; clock and reset included."""
    ports = {"clk": ("in", 1), "rst": ("in", 1)}
    for prefix, members in ((MEMORY, AXI4_PORTS(config.memory_bits)), (CONTROL, AXI4_LITE_PORTS)):
        for name, member in members.items():
            ports[prefix + name] = ("in" if member.flow is In else "out",
                                    Shape.cast(member.shape).width)
    return ports


def core_verilog(config, name="bitwright"):
    """Verilog of the whole core; the same text for the same machine, without source paths."""
    return verilog.convert(Core(config), name=name, emit_src=False)
