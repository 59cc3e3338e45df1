// I/O cells and PLL of an ECP5 for the simulation of a board (module board): the PLL gives the
// clocks that the harness drives. Parameters are accepted and ignored.
module IB(input I, output O);
  assign O = I;
endmodule

module OBZ(input I, T, output O);
  assign O = T ? 1'bz : I;
endmodule

module BB(input I, T, output O, inout B);
  assign B = T ? 1'bz : I;
  assign O = B;
endmodule

module IFS1P3DX(input D, SP, SCLK, CD, output reg Q);
  initial Q = 0;
  always @(posedge SCLK) Q <= CD ? 1'b0 : SP ? D : Q;
endmodule

module OFS1P3DX(input D, SP, SCLK, CD, output reg Q);
  initial Q = 0;
  always @(posedge SCLK) Q <= CD ? 1'b0 : SP ? D : Q;
endmodule

module FD1S3AX(input D, CK, output reg Q);
  initial Q = 0;
  always @(posedge CK) Q <= D;
endmodule

// Both inputs are taken at the rising edge; the later ones leave D0 in the first half.
module ODDRX1F(input D0, D1, SCLK, RST, output Q);
  reg first, second;
  initial {first, second} = 0;
  always @(posedge SCLK) {first, second} <= RST ? 2'b0 : {D0, D1};
  assign Q = SCLK ? first : second;
endmodule

module EHXPLLL(
  input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG,
        PLLWAKESYNC, ENCLKOP,
  output CLKOP, CLKOS, LOCK);
  parameter PLLRST_ENA = "", INTFB_WAKE = "", STDBY_ENABLE = "", DPHASE_SOURCE = "",
            OUTDIVIDER_MUXA = "", OUTDIVIDER_MUXB = "", FEEDBK_PATH = "",
            CLKOP_ENABLE = "", CLKOS_ENABLE = "";
  parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0,
            CLKOS_DIV = 1, CLKOS_CPHASE = 0, CLKOS_FPHASE = 0;
  assign CLKOP = board.clock;
  assign CLKOS = board.chip_clock;
  assign LOCK = board.locked;
endmodule
