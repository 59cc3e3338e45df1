// Simulation models of the ECP5 blocks that the Yosys cell library keeps as black boxes, in the
// modes that the core and its synthesis use; any other mode ends the simulation. All other cells
// are the library's own (share/ecp5/common_sim.vh and ccu2c_sim.vh).

// 18 x 18, each of the registers of operand A, operand B, product and result in use or not; CE0
// holds operand A.
module MULT18X18D(
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, CE1, RST0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
    output P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0";
    parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0";
    parameter REG_PIPELINE_CLK = "NONE", REG_PIPELINE_CE = "CE0";
    parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0";
    parameter SOURCEB_MODE = "B_SHIFT", GSR = "ENABLED";

    localparam KEEP_A = REG_INPUTA_CLK != "NONE", KEEP_B = REG_INPUTB_CLK != "NONE";
    localparam KEEP_PRODUCT = REG_PIPELINE_CLK != "NONE", KEEP_P = REG_OUTPUT_CLK != "NONE";

    initial if ((KEEP_A && (REG_INPUTA_CLK != "CLK0" || REG_INPUTA_CE != "CE0"))
                || (KEEP_B && (REG_INPUTB_CLK != "CLK0" || REG_INPUTB_CE != "CE1"))
                || (KEEP_PRODUCT && (REG_PIPELINE_CLK != "CLK0" || REG_PIPELINE_CE != "CE1"))
                || (KEEP_P && (REG_OUTPUT_CLK != "CLK0" || REG_OUTPUT_CE != "CE1")))
        $fatal(1, "MULT18X18D: mode not modelled");

    wire signed [18:0] a_in = {SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10,
                               A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire signed [18:0] b_in = {SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10,
                               B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    reg signed [18:0] a_reg = 0, b_reg = 0;
    wire signed [18:0] a = KEEP_A ? a_reg : a_in, b = KEEP_B ? b_reg : b_in;
    wire [35:0] product_in = 36'(38'(a) * 38'(b));
    reg [35:0] product_reg = 0, p_reg = 0;
    wire [35:0] product = KEEP_PRODUCT ? product_reg : product_in, p = KEEP_P ? p_reg : product;
    always @(posedge CLK0) begin
        if (SOURCEA || SOURCEB || !CE1 || RST0) $fatal(1, "MULT18X18D: mode not modelled");
        if (CE0) a_reg <= a_in;
        b_reg <= b_in;
        product_reg <= product_in;
        p_reg <= product;
    end
    assign {
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
        P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = p;
endmodule

// 512 x 36, one write and one read port, output register. A word written in the cycle in which it
// is read reads as it was, or inverted (undefined in the chip) where UNDEFINED_COLLISIONS is set.
module PDPW16KD(
    input DI35, DI34, DI33, DI32, DI31, DI30, DI29, DI28, DI27, DI26, DI25, DI24, DI23, DI22, DI21,
    input DI20, DI19, DI18, DI17, DI16, DI15, DI14, DI13, DI12, DI11, DI10, DI9, DI8, DI7, DI6, DI5,
    input DI4, DI3, DI2, DI1, DI0,
    input ADW8, ADW7, ADW6, ADW5, ADW4, ADW3, ADW2, ADW1, ADW0, BE3, BE2, BE1, BE0,
    input CEW, CLKW, CSW2, CSW1, CSW0,
    input ADR13, ADR12, ADR11, ADR10, ADR9, ADR8, ADR7, ADR6, ADR5, ADR4, ADR3, ADR2, ADR1, ADR0,
    input CER, OCER, CLKR, CSR2, CSR1, CSR0, RST,
    output DO35, DO34, DO33, DO32, DO31, DO30, DO29, DO28, DO27, DO26, DO25, DO24, DO23, DO22, DO21,
    output DO20, DO19, DO18, DO17, DO16, DO15, DO14, DO13, DO12, DO11, DO10, DO9, DO8, DO7, DO6,
    output DO5, DO4, DO3, DO2, DO1, DO0
);
    parameter DATA_WIDTH_W = 36, DATA_WIDTH_R = 36, REGMODE = "NOREG", GSR = "ENABLED";

    initial if (DATA_WIDTH_W != 36 || DATA_WIDTH_R != 36 || REGMODE != "OUTREG")
        $fatal(1, "PDPW16KD: mode not modelled");

    reg [35:0] mem[0:511];
    reg [35:0] word = 0, data = 0;
    integer i;
    initial for (i = 0; i < 512; i = i + 1) mem[i] = 0;

    wire [8:0] w_addr = {ADW8, ADW7, ADW6, ADW5, ADW4, ADW3, ADW2, ADW1, ADW0};
    wire [8:0] r_addr = {ADR13, ADR12, ADR11, ADR10, ADR9, ADR8, ADR7, ADR6, ADR5};
    always @(posedge CLKW)
        if (CEW) mem[w_addr] <= {
        DI35, DI34, DI33, DI32, DI31, DI30, DI29, DI28, DI27, DI26, DI25, DI24, DI23, DI22, DI21,
        DI20, DI19, DI18, DI17, DI16, DI15, DI14, DI13, DI12, DI11, DI10, DI9, DI8, DI7, DI6, DI5,
        DI4, DI3, DI2, DI1, DI0};
    always @(posedge CLKR) begin
        if (!CER || !OCER || RST || {BE3, BE2, BE1, BE0} != 4'hf
                || {CSW2, CSW1, CSW0, CSR2, CSR1, CSR0} != 0)
            $fatal(1, "PDPW16KD: mode not modelled");
        word <= mem[r_addr];
`ifdef UNDEFINED_COLLISIONS
        if (CEW && w_addr == r_addr) word <= ~mem[r_addr];
`endif
        data <= word;
    end
    assign {
        DO35, DO34, DO33, DO32, DO31, DO30, DO29, DO28, DO27, DO26, DO25, DO24, DO23, DO22, DO21,
        DO20, DO19, DO18, DO17, DO16, DO15, DO14, DO13, DO12, DO11, DO10, DO9, DO8, DO7, DO6, DO5,
        DO4, DO3, DO2, DO1, DO0} = data;
endmodule

// A memory on one clock without output registers, of 512 rows of 36 bits, four bytes of 9 each.
// Port A writes words of 1, 2, 4, 9, 18 or 36 bits, of which ADA0 and up enable the bytes of 18 and
// 36 (upper half on DIB); port B reads words of one of these sizes (on DOB; of 36, the lower half
// on DOA). Bits written in the cycle in which they are read come inverted: undefined in the chip.
module DP16KD(
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
    input DIA4, DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
    output DOA4, DOA3, DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
    input DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
    output DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18, REGMODE_A = "NOREG", REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", GSR = "ENABLED";
    parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000", CLKAMUX = "CLKA", CLKBMUX = "CLKB";
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
    parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0;
    parameter [319:0] INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0;
    parameter [319:0] INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0;
    parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0;
    parameter [319:0] INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0;
    parameter [319:0] INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0;
    parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0;
    parameter [319:0] INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0;
    parameter [319:0] INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0;
    parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0;
    parameter [319:0] INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0;
    parameter [319:0] INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0;
    parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0;
    parameter [319:0] INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0;
    parameter [319:0] INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0;
    parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
    localparam [63:0][319:0] INIT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
        INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
        INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
        INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
        INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
        INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
        INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
        INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
        INITVAL_00};

    initial if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || CSDECODE_A != "0b000"
                || CSDECODE_B != "0b000" || CLKAMUX != "CLKA" || CLKBMUX != "CLKB")
        $fatal(1, "DP16KD: mode not modelled");

    wire [13:0] w_addr = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] r_addr = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [35:0] w_data = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
        DIB3, DIB2, DIB1, DIB0, DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8,
        DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};

    // Where a word starts in its row.
    function automatic [5:0] start(input integer width, input [13:0] addr);
        case (width)
            36: start = 0;
            18: start = 6'd18 * 6'(addr[4]);
            9: start = 6'd9 * 6'(addr[4:3]);
            4: start = 6'd9 * 6'(addr[4:3]) + 6'd4 * 6'(addr[2]);
            2: start = 6'd9 * 6'(addr[4:3]) + 6'd2 * 6'(addr[2:1]);
            default: start = 6'd9 * 6'(addr[4:3]) + 6'(addr[2:0]);
        endcase
    endfunction

    wire [5:0] w_start = start(DATA_WIDTH_A, w_addr);
    wire [35:0] enabled = {{9{w_addr[3]}}, {9{w_addr[2]}}, {9{w_addr[1]}}, {9{w_addr[0]}}};
    wire [35:0] word = (36'd1 << DATA_WIDTH_A) - 36'd1;
    wire [35:0] mask = !(CEA && WEA) ? 0 : ((DATA_WIDTH_A >= 18 ? enabled : '1) & word) << w_start;

    reg [35:0] mem[0:511];
    reg [35:0] out = 0;
    integer i;
    initial for (i = 0; i < 512; i = i + 1)
        mem[i] = {INIT[i / 8][i % 8 * 40 + 20 +: 18], INIT[i / 8][i % 8 * 40 +: 18]};

    always @(posedge CLKA) begin
        if (WEB || RSTA || RSTB || !OCEB || {CSA2, CSA1, CSA0, CSB2, CSB1, CSB0} != 0)
            $fatal(1, "DP16KD: mode not modelled");
        mem[w_addr[13:5]] <= (mem[w_addr[13:5]] & ~mask) | (w_data << w_start & mask);
        if (CEB) out <= (mem[r_addr[13:5]] ^ (w_addr[13:5] == r_addr[13:5] ? mask : 0))
                        >> start(DATA_WIDTH_B, r_addr);
    end
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
        DOA3, DOA2, DOA1, DOA0} = out[17:0];
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
        DOB3, DOB2, DOB1, DOB0} = DATA_WIDTH_B == 36 ? out[35:18] : out[17:0];
endmodule
