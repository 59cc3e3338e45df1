"""A plug-in: an element that multiplies by shifting and adding, one weight bit after the other."""

from amaranth import Module, Mux, Signal, signed

from bitwright.hw.elements import Element, register_element
from bitwright.hw.packing.code_codec import CodeCodec
from bitwright.hw.rtl.fabric.scale_multipliers import multiplier_for
from bitwright.hw.rtl.pe.element_interface import StationaryPE, back_half

BITS = 5    # of a weight: sign and magnitude


class ShiftAddElement(Element):
    """Takes weights of −15…15 as a sign and four bits."""

    name = "shift-add"
    circuit = f"{__name__}:ShiftAddPE"
    codec = f"{__name__}:SignMagnitudeCodec"
    samples = ({"name": "shift-add", "k_tile": 8, "builders": 2},)

    def check(self, machine):
        return "it takes k_tile ≤ 64; use --set k_tile=64" if machine.k_tile > 64 else None

    def lane_bits(self, machine):
        return BITS

    def plus(self, machine):
        return 1

    def acc_bits(self, machine):
        return machine.sigma_bits + BITS - 1

    def sum_latency(self, machine):
        return 4    # registers of slice, products, sum, and that of the multiplier

    def summary(self, machine):
        return "sums of four shifted activations"


class SignMagnitudeCodec(CodeCodec):
    """Decodes a code to magnitude and sign."""

    def slots(self, machine, values):
        return int(all(abs(value) < 1 << BITS - 1 for value in values))

    def entries(self, machine, value, slots):
        return [abs(value) | (value < 0) << BITS - 1]


class ShiftAddPE(StationaryPE):
    """Adds the activations of every weight bit, shifted; then the lanes, one after the other."""

    def elaborate(self, platform):
        m = Module()
        config = self._config
        slot = Signal.like(self.slice_i, reset_less=True)
        mult = Signal.like(self.mult_i, reset_less=True)
        m.d.sync += [slot.eq(self.slice_i), mult.eq(self.mult_i)]
        m.d.comb += [self.slice_o.eq(slot), self.mult_o.eq(mult)]

        total = Signal(signed(config.acc_bits), reset_less=True)
        terms = []
        for lane in range(config.k_tile):
            step, place = divmod(lane, 4 * config.builders)
            shadow = Signal(signed(config.act_bits), name=f"shadow{lane}", reset_less=True)
            active = Signal.like(shadow, name=f"active{lane}", reset_less=True)
            with m.If(self.w_step[step]):
                m.d.sync += shadow.eq(self.w_data[place])
            with m.If(self.swap_i):
                m.d.sync += active.eq(shadow)
            weight = slot.word_select(lane, BITS)
            product = Signal(signed(config.act_bits + BITS), name=f"product{lane}",
                             reset_less=True)
            value = sum(Mux(weight[bit], active << bit, 0) for bit in range(BITS - 1))
            m.d.sync += product.eq(Mux(weight[-1], -value, value))
            terms.append(product)
        m.d.sync += total.eq(sum(terms))

        load = Signal(reset_less=True)
        m.d.sync += load.eq(self.acc_en_i & self.last_i)
        back_half(m, self, multiplier_for(config), total, load,
                  lambda psum, product, first: Mux(first, 0, psum) + product)
        return m


register_element(ShiftAddElement())
