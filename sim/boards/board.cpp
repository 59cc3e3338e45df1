// A whole board, driven through its pins alone: the clock, the UART, the SDRAM if there is one.
//
// usage: harness CLOCKS_PER_BIT PERIOD_PS [RULE=VALUE ...]
// RULE: one of the SDRAM chip's (sdram_model.h). SDRAM is 1 if the board has the chip, else 0.
// Prints a JSON object with the serial port's path, and one more after SIGTERM. A broken rule of
// the chip is also a line of the error stream at once.
//
// Simulated time slows down while the line is silent, so that nobody pays for an idle board. The
// simulation ends with the program that started it.
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "Vboard.h"
#include "sdram_model.h"
#include "uart_pty.h"
#include "verilated.h"

namespace {

constexpr uint64_t SILENT = 200000;     // cycles without traffic after which the host is slow
constexpr uint64_t STRIDE = 2000;       // cycles between two waits for it

volatile std::sig_atomic_t ending = 0;

struct Bench {
    VerilatedContext context;
    Vboard top{&context};
    UartPty uart;
    int64_t period, now = 0;
    uint64_t cycle = 0, silent = 0;
#if SDRAM
    sdram::Chip chip;
    size_t told = 0;
    bool chip_clock = false;

    Bench(unsigned clocks, int64_t period, const sdram::Rules &rules)
        : uart(clocks), period(period), chip(rules) {}

    sdram::Pins pins() const {
        sdram::Pins found;
        found.cke = top.cke; found.cs_n = top.cs_n; found.ras_n = top.ras_n;
        found.cas_n = top.cas_n; found.we_n = top.we_n; found.ba = top.ba; found.a = top.a;
        found.dqm = top.dqm; found.dq = top.dq_o; found.dq_oe = top.dq_oe;
        return found;
    }

    // The chip takes the levels from before its clock rises.
    void edge(bool level) {
        uint16_t noise = uint16_t(cycle * 40503u >> 3);     // of a bus that nobody drives
        for (unsigned byte = 0; byte < 2; ++byte)
            if (chip.driving() >> byte & 1)
                noise = (noise & ~(0xff << 8 * byte)) | (chip.dq() & (0xff << 8 * byte));
        top.dq_i = noise;
        top.eval();
        sdram::Pins before = pins();
        top.clk = level;
        top.eval();
        now += period / 2;
        if (top.sdram_clk && !chip_clock) chip.clock(before, now);
        chip_clock = top.sdram_clk;
        for (; told < chip.violations().size(); ++told)
            std::fprintf(stderr, "SDRAM: %s\n", chip.violations()[told].c_str());
    }
#else
    Bench(unsigned clocks, int64_t period, const sdram::Rules &) : uart(clocks), period(period) {}

    void edge(bool level) {
        top.clk = level;
        top.eval();
        now += period / 2;
    }
#endif

    void step() {
        edge(false);
        top.rx = uart.step(top.tx);
        edge(true);
        ++cycle;
        silent = uart.idle() ? silent + 1 : 0;
        if (silent > SILENT && silent % STRIDE == 0) uart.wait(20);
    }

    void report() const {
        std::printf("{\"cycles\": %" PRIu64 ", \"seconds\": %.9f", cycle, double(now) * 1e-12);
#if SDRAM
        std::printf(", \"refreshes\": %" PRIu64 ", \"violations\": [", chip.refreshes());
        for (size_t index = 0; index < chip.violations().size(); ++index)
            std::printf("%s\"%s\"", index ? ", " : "", chip.violations()[index].c_str());
        std::printf("]}\n");
#else
        std::printf(", \"violations\": []}\n");
#endif
    }
};

}  // namespace

int main(int argc, char **argv) {
    if (argc < 3) { std::fprintf(stderr, "harness: 2 arguments are needed\n"); return 2; }
    sdram::Rules rules;
    for (int index = 3; index < argc; ++index) {
        std::string text = argv[index];
        size_t equals = text.find('=');
        int64_t *rule = rules.find(text.substr(0, equals));
        if (!rule || equals == std::string::npos) {
            std::fprintf(stderr, "harness: no rule %s\n", argv[index]);
            return 2;
        }
        *rule = std::strtoll(argv[index] + equals + 1, nullptr, 0);
    }
    std::signal(SIGTERM, [](int) { ending = 1; });
    std::signal(SIGINT, SIG_IGN);       // of the terminal, meant for the host program
    Bench bench(unsigned(std::atoi(argv[1])), std::atoll(argv[2]), rules);
    bench.top.rx = 1;
    bench.top.rst = 1;
    for (int count = 0; count < 4; ++count) bench.step();
    bench.top.rst = 0;
    std::printf("{\"port\": \"%s\"}\n", bench.uart.path().c_str());
    std::fflush(stdout);
    const pid_t parent = getppid();
    while (!ending && (bench.cycle % STRIDE || getppid() == parent)) bench.step();
    bench.report();
    bench.top.final();
    return 0;
}
