// The SDRAM controller between random AXI traffic and the checking model of the chip.
//
// usage: harness KIND SEED CYCLES PERIOD_PS BURST [RULE=VALUE ...]
// KIND: random, read, write, mixed or latency. BURST: beats of the bursts of read, write, mixed.
// RULE: one of the chip's (sdram_model.h). Prints one JSON object. REGISTERS is how many registers stand between the pins and dq_i.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "Vsdram.h"
#include "axi_traffic.h"
#include "sdram_model.h"
#include "verilated.h"

namespace {

constexpr uint32_t SIZE = 1u << 25;

struct Bench {
    VerilatedContext context;
    Vsdram top{&context};
    sdram::Chip chip;
    std::vector<uint16_t> reference;
    traffic::Manager manager;
    int64_t period;
    uint64_t cycle = 0;
    uint16_t path[REGISTERS + 1] = {};

    Bench(const sdram::Rules &rules, uint64_t seed, int64_t period)
        : chip(rules), reference(SIZE / 2), manager(reference, seed), period(period) {
        for (uint32_t word = 0; word < SIZE / 2; ++word)
            reference[word] = sdram::Chip::initial(word);
        manager.source = [](bool, traffic::Burst &) { return false; };
        top.rst = 1;
        for (int count = 0; count < 4; ++count) step();
        top.rst = 0;
    }

    void step() {
        if (!top.rst) manager.offer(top);
        for (unsigned stage = REGISTERS; stage > 0; --stage) path[stage] = path[stage - 1];
        path[0] = uint16_t(manager.random());       // of a bus that nobody drives
        for (unsigned byte = 0; byte < 2; ++byte)
            if (chip.driving() >> byte & 1)
                path[0] = (path[0] & ~(0xff << 8 * byte)) | (chip.dq() & (0xff << 8 * byte));
        top.dq_i = path[REGISTERS];
        top.clk = 0;
        top.eval();
        if (!top.rst) manager.settle(top, cycle);
        sdram::Pins pins;
        pins.cke = top.cke; pins.cs_n = top.cs_n; pins.ras_n = top.ras_n;
        pins.cas_n = top.cas_n; pins.we_n = top.we_n; pins.ba = top.ba; pins.a = top.a;
        pins.dqm = top.dqm; pins.dq = top.dq_o; pins.dq_oe = top.dq_oe;
        chip.clock(pins, int64_t(cycle) * period);
        top.clk = 1;
        top.eval();
        ++cycle;
    }

    void steps(uint64_t count) { while (count--) step(); }
    void start() { while (!chip.ready() && cycle < 1000000) step(); steps(100); }

    // Let what is in flight end; the traffic ends with it.
    void drain() {
        manager.source = [](bool, traffic::Burst &) { return false; };
        manager.pace = {};
        for (unsigned count = 0; !manager.quiet() && count < 100000; ++count) step();
        if (!manager.quiet()) manager.errors.push_back("bursts are still unanswered");
    }

    uint64_t read_once(uint32_t addr) {
        bool wanted = true;
        manager.source = [&wanted, addr](bool write, traffic::Burst &burst) {
            if (write || !wanted) return false;
            wanted = false;
            burst = traffic::Burst{addr, 1, 0};
            return true;
        };
        do step(); while (!manager.quiet() || wanted);
        steps(8);
        return manager.last_latency;
    }
};

struct Extremes {
    uint64_t least = ~0ull, most = 0;
    void take(uint64_t value) {
        if (value < least) least = value;
        if (value > most) most = value;
    }
};

// Prints the least latency of three kinds of reads, and the most of any (it meets a refresh).
void latency(Bench &bench) {
    Extremes open, other, closed, any;
    bench.start();
    for (unsigned trial = 0; trial < 200; ++trial) {
        uint64_t refreshes = bench.chip.refreshes();
        while (bench.chip.refreshes() == refreshes) bench.step();
        bench.steps(60 + trial);
        closed.take(bench.read_once(0));
        open.take(bench.read_once(2));
        other.take(bench.read_once(4096));
        for (unsigned read = 0; read < 20; ++read) {
            bench.steps(bench.manager.below(100));
            any.take(bench.read_once(bench.manager.below(2) * 4096));
        }
    }
    std::printf("\"latency\": {\"open_row\": %" PRIu64 ", \"closed_bank\": %" PRIu64
                ", \"other_row\": %" PRIu64 ", \"most\": %" PRIu64 "}, ",
                open.least, closed.least, other.least, any.most);
}

void strings(const char *name, const std::vector<std::string> &lines) {
    std::printf("\"%s\": [", name);
    for (size_t index = 0; index < lines.size(); ++index)
        std::printf("%s\"%s\"", index ? ", " : "", lines[index].c_str());
    std::printf("]");
}

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
    std::string kind = argv[1];
    uint64_t cycles = std::strtoull(argv[3], nullptr, 0);
    unsigned beats = unsigned(std::strtoul(argv[5], nullptr, 0));
    Bench bench(rules, std::strtoull(argv[2], nullptr, 0), std::strtoll(argv[4], nullptr, 0));
    traffic::Sequence reads(0, SIZE / 2, beats), writes(SIZE / 2, SIZE / 2, beats);
    traffic::Mixture mixture(bench.manager, SIZE);
    std::printf("{");
    if (kind == "latency") {
        bench.manager.pace = {};
        latency(bench);
    } else if (kind == "random") {
        bench.manager.source = [&](bool write, traffic::Burst &burst) {
            return mixture(write, burst);
        };
        bench.steps(cycles);
    } else {
        bench.manager.pace = {};
        bench.start();
        bench.manager.source = [&](bool write, traffic::Burst &burst) {
            if (kind == (write ? "read" : "write")) return false;
            return write ? writes(burst) : reads(burst);
        };
        bench.steps(cycles);
    }
    bench.drain();
    const traffic::Manager &manager = bench.manager;
    std::printf("\"cycles\": %" PRIu64 ", \"refreshes\": %" PRIu64, bench.cycle,
                bench.chip.refreshes());
    for (auto &[name, totals] : {std::pair{"reads", manager.reads}, {"writes", manager.writes}})
        std::printf(", \"%s\": {\"bursts\": %" PRIu64 ", \"beats\": %" PRIu64 ", \"first\": %" PRIu64
                    ", \"last\": %" PRIu64 "}", name, totals.bursts, totals.beats, totals.first,
                    totals.last);
    std::printf(", ");
    strings("errors", manager.errors);
    std::printf(", ");
    strings("violations", bench.chip.violations());
    std::printf("}\n");
    bench.top.final();
    return 0;
}
