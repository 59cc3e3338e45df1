// A whole board, driven through its pins: the UART, and the SDRAM if there is one. The PLL's clocks
// come from here, too.
//
// usage: harness CLOCKS_PER_BIT PERIOD_PS PHASE_PS EARLY_PS LATE_PS [RULE=VALUE ...]
// SDRAM is 1 if the board has the chip, else 0. The chip's clock comes PHASE_PS after the core's.
// What the chip drives from an edge of its clock on is seen by the FPGA LATE_PS after that edge, and
// until EARLY_PS after the next one; between, the bus holds noise.
// RULE: one of the chip's (sdram_model.h).
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
constexpr uint64_t LOCKED = 20;         // cycles until the PLL says that its clocks are right
constexpr uint64_t READY = 10000;       // cycles until the board's reset has ended
constexpr uint64_t STRIDE = 2000;       // cycles between two waits for it

volatile std::sig_atomic_t ending = 0;

struct Timing { int64_t period, phase, early, late; };

struct Bench {
    VerilatedContext context;
    Vboard top{&context};
    UartPty uart;
    Timing timing;
    uint64_t cycle = 0, silent = 0;
#if SDRAM
    // What the chip drives after an edge of its clock.
    struct Drive { int64_t since = 0; unsigned bytes = 0; uint16_t data = 0; };

    sdram::Chip chip;
    Drive drives[3];                    // the newest first
    size_t told = 0;

    Bench(unsigned clocks, const Timing &timing, const sdram::Rules &rules)
        : uart(clocks), timing(timing), chip(rules) {}

    // The levels before the chip's clock rises are what it takes.
    void chip_rises(int64_t now) {
        sdram::Pins pins;
        pins.cke = top.cke; pins.cs_n = top.cs_n; pins.ras_n = top.ras_n;
        pins.cas_n = top.cas_n; pins.we_n = top.we_n; pins.ba = top.ba; pins.a = top.a;
        pins.dqm = top.dqm; pins.dq = top.dq__out; pins.dq_oe = top.dq__en;
        bool before = top.sdram_clk;
        top.chip_clock = 1;
        top.eval();
        if (before || !top.sdram_clk) return;
        chip.clock(pins, now);
        drives[2] = drives[1];
        drives[1] = drives[0];
        drives[0] = {now, chip.driving(), chip.dq()};
        for (; told < chip.violations().size(); ++told)
            std::fprintf(stderr, "SDRAM: %s\n", chip.violations()[told].c_str());
    }

    // The bus at the FPGA.
    uint16_t bus(int64_t now) const {
        uint16_t found = uint16_t(cycle * 40503u >> 3);
        unsigned index = 0;             // of the newest edge whose beat has arrived
        while (index < 3 && now < drives[index].since + timing.late) ++index;
        if (index == 3 || (index && now > drives[index - 1].since + timing.early)) return found;
        for (unsigned byte = 0; byte < 2; ++byte)
            if (drives[index].bytes >> byte & 1)
                found = (found & ~(0xff << 8 * byte)) | (drives[index].data & (0xff << 8 * byte));
        return found;
    }

    void edges() {
        int64_t now = int64_t(cycle) * timing.period;
        top.dq = bus(now);
        top.eval();
        top.clock = 1;
        top.eval();
        top.clock = top.chip_clock = 0;     // nothing happens at falling edges
        top.eval();
        chip_rises(now + timing.phase);
    }
#else
    Bench(unsigned clocks, const Timing &timing, const sdram::Rules &)
        : uart(clocks), timing(timing) { top.button_n = 1; }

    void edges() {
        top.eval();
        top.clock = 1;
        top.eval();
        top.clock = 0;
        top.eval();
    }
#endif

    void step() {
        top.rx = uart.step(top.tx);
        edges();
        ++cycle;
        silent = uart.idle() ? silent + 1 : 0;
        if (silent > SILENT && silent % STRIDE == 0) uart.wait(20);
    }

    void report() const {
        std::printf("{\"cycles\": %" PRIu64 ", \"seconds\": %.9f", cycle, double(cycle) * double(timing.period) * 1e-12);
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
    if (argc < 6) { std::fprintf(stderr, "harness: 5 arguments are needed\n"); return 2; }
    sdram::Rules rules;
    for (int index = 6; index < argc; ++index) {
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
    Timing timing{std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4]),
                  std::atoll(argv[5])};
    Bench bench(unsigned(std::atoi(argv[1])), timing, rules);
    while (bench.cycle < LOCKED) bench.step();
    bench.top.locked = 1;
    while (bench.cycle < READY) bench.step();
    std::printf("{\"port\": \"%s\"}\n", bench.uart.path().c_str());
    std::fflush(stdout);
    const pid_t parent = getppid();
    while (!ending && (bench.cycle % STRIDE || getppid() == parent)) bench.step();
    bench.report();
    bench.top.final();
    return 0;
}
