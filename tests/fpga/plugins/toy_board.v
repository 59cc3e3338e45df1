// The iCESugar as the harness sees it: the clock that the PLL makes, and the pins of the FPGA.
module board(input clock, locked, inout button_n, rx, output tx);
  wire pressed = ~button_n;
  top top(.clk12_0__io(1'b0), .switch_0__io(pressed), .uart_0__rx__io(rx), .uart_0__tx__io(tx));
endmodule
