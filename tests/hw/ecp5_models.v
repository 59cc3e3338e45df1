// Simulation models of the ECP5 blocks that the processing element uses and that the Yosys cell
// library keeps as black boxes, in the one mode it uses. CCU2C is the library's own.

`include "ccu2c_sim.vh"

module LUT4(input A, B, C, D, output Z);
    parameter [15:0] INIT = 0;
    assign Z = INIT[{D, C, B, A}];
endmodule

module LUT2(input A, B, output Z);
    parameter [3:0] INIT = 0;
    assign Z = INIT[{B, A}];
endmodule

// Signed 18 x 18 with operand, pipeline and product registers; CE0 holds operand A.
module MULT18X18D(
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, CE1, RST0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
    output P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0";
    parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0";
    parameter REG_PIPELINE_CLK = "NONE", REG_PIPELINE_CE = "CE0";
    parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0";
    parameter SOURCEB_MODE = "B_SHIFT", GSR = "ENABLED";

    initial if (REG_INPUTA_CLK != "CLK0" || REG_INPUTB_CLK != "CLK0" || REG_OUTPUT_CLK != "CLK0"
                || REG_PIPELINE_CLK != "CLK0" || REG_INPUTA_CE != "CE0" || REG_INPUTB_CE != "CE1"
                || REG_PIPELINE_CE != "CE1" || REG_OUTPUT_CE != "CE1")
        $fatal(1, "MULT18X18D: mode not modelled");

    reg signed [17:0] a = 0, b = 0;
    reg signed [35:0] product = 0, p = 0;
    always @(posedge CLK0) begin
        if (!SIGNEDA || !SIGNEDB || SOURCEA || SOURCEB || !CE1 || RST0)
            $fatal(1, "MULT18X18D: mode not modelled");
        if (CE0) a <= {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1,
                       A0};
        b <= {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
        product <= a * b;
        p <= product;
    end
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
            P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0}
        = p;
endmodule

// 512 x 36, one write and one read port, output register.
module PDPW16KD(
    input DI35, DI34, DI33, DI32, DI31, DI30, DI29, DI28, DI27, DI26, DI25, DI24, DI23, DI22, DI21,
    input DI20, DI19, DI18, DI17, DI16, DI15, DI14, DI13, DI12, DI11, DI10, DI9, DI8, DI7, DI6,
    input DI5, DI4, DI3, DI2, DI1, DI0,
    input ADW8, ADW7, ADW6, ADW5, ADW4, ADW3, ADW2, ADW1, ADW0, BE3, BE2, BE1, BE0,
    input CEW, CLKW, CSW2, CSW1, CSW0, ADR13, ADR12, ADR11, ADR10, ADR9, ADR8, ADR7, ADR6, ADR5,
    input ADR4, ADR3, ADR2, ADR1, ADR0, CER, OCER, CLKR, CSR2, CSR1, CSR0, RST,
    output DO35, DO34, DO33, DO32, DO31, DO30, DO29, DO28, DO27, DO26, DO25, DO24, DO23, DO22,
    output DO21, DO20, DO19, DO18, DO17, DO16, DO15, DO14, DO13, DO12, DO11, DO10, DO9, DO8, DO7,
    output DO6, DO5, DO4, DO3, DO2, DO1, DO0
);
    parameter DATA_WIDTH_W = 36, DATA_WIDTH_R = 36, REGMODE = "NOREG", GSR = "ENABLED";

    initial if (DATA_WIDTH_W != 36 || DATA_WIDTH_R != 36 || REGMODE != "OUTREG")
        $fatal(1, "PDPW16KD: mode not modelled");

    reg [35:0] mem[0:511];
    reg [35:0] word = 0, data = 0;
    integer i;
    initial for (i = 0; i < 512; i = i + 1) mem[i] = 0;

    always @(posedge CLKW)
        if (CEW) mem[{ADW8, ADW7, ADW6, ADW5, ADW4, ADW3, ADW2, ADW1, ADW0}]
            <= {DI35, DI34, DI33, DI32, DI31, DI30, DI29, DI28, DI27, DI26, DI25, DI24, DI23, DI22,
                DI21, DI20, DI19, DI18, DI17, DI16, DI15, DI14, DI13, DI12, DI11, DI10, DI9, DI8,
                DI7, DI6, DI5, DI4, DI3, DI2, DI1, DI0};
    always @(posedge CLKR) begin
        if (!CER || !OCER || RST || {BE3, BE2, BE1, BE0} != 4'hf
                || {CSW2, CSW1, CSW0, CSR2, CSR1, CSR0} != 0)
            $fatal(1, "PDPW16KD: mode not modelled");
        word <= mem[{ADR13, ADR12, ADR11, ADR10, ADR9, ADR8, ADR7, ADR6, ADR5}];
        data <= word;
    end
    assign {DO35, DO34, DO33, DO32, DO31, DO30, DO29, DO28, DO27, DO26, DO25, DO24, DO23, DO22,
            DO21, DO20, DO19, DO18, DO17, DO16, DO15, DO14, DO13, DO12, DO11, DO10, DO9, DO8, DO7,
            DO6, DO5, DO4, DO3, DO2, DO1, DO0} = data;
endmodule
