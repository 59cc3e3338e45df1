// I/O cell, PLL and SPRAM of an iCE40 UP5K for the simulation of a board (module board): the PLL
// gives the clock that the harness drives. Only what the boards' tops use.
module SB_IO(inout PACKAGE_PIN, input OUTPUT_CLK, OUTPUT_ENABLE, D_OUT_0, output D_IN_0);
  parameter [5:0] PIN_TYPE = 0;
  parameter PULLUP = 0, IO_STANDARD = "";
  assign D_IN_0 = PACKAGE_PIN;
  generate if (PIN_TYPE == 6'b110101) begin     // output and its enable from registers
    reg value, enable;
    initial {value, enable} = 0;
    always @(posedge OUTPUT_CLK) {value, enable} <= {D_OUT_0, OUTPUT_ENABLE};
    assign PACKAGE_PIN = enable ? value : 1'bz;
  end else if (PIN_TYPE != 6'b000001)           // plain input
    $error("SB_IO: PIN_TYPE is not modelled");
  endgenerate
endmodule

module SB_PLL40_PAD(input PACKAGEPIN, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK);
  parameter FEEDBACK_PATH = "", DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0;
  assign PLLOUTGLOBAL = board.clock;
  assign LOCK = board.locked;
endmodule

// What is read holds no known value after power-up, nor after a write.
module SB_SPRAM256KA(
  input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN,
  input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF, output reg [15:0] DATAOUT);
  reg [15:0] mem [0:16383];
  integer i;
  initial for (i = 0; i < 16384; i = i + 1) mem[i] = 16'h5aa5 ^ i;
  wire [15:0] mask = {{4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}};
  always @(posedge CLOCK) if (CHIPSELECT & POWEROFF & ~SLEEP & ~STANDBY) begin
    DATAOUT <= WREN ? ~DATAOUT : mem[ADDRESS];
    if (WREN) mem[ADDRESS] <= (mem[ADDRESS] & ~mask) | (DATAIN & mask);
  end
endmodule
