// The ULX3S as the harness sees it: the clocks that the PLL makes, and the pins of the FPGA.
module board(
  input clock, chip_clock, locked, button, rx, output tx,
  output sdram_clk, cke, cs_n, ras_n, cas_n, we_n, output [1:0] ba, output [12:0] a,
  output [1:0] dqm, inout [15:0] dq);
  top top(
    .clk25_0__io(1'b0), .button_fire_0__io(button), .uart_0__rx__io(rx), .uart_0__tx__io(tx),
    .sdram_0__clk__io(sdram_clk), .sdram_0__clk_en__io(cke), .sdram_0__cs__io(cs_n),
    .sdram_0__ras__io(ras_n), .sdram_0__cas__io(cas_n), .sdram_0__we__io(we_n),
    .sdram_0__ba__io(ba), .sdram_0__a__io(a), .sdram_0__dqm__io(dqm), .sdram_0__dq__io(dq));
endmodule
