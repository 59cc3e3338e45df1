// The iCEBreaker as the harness sees it: the clock that the PLL makes, and the pins of the FPGA.
module board(input clock, locked, inout button_n, rx, output tx);
  top top(.clk12_0__io(1'b0), .button_0__io(button_n), .uart_0__rx__io(rx), .uart_0__tx__io(tx));
endmodule
