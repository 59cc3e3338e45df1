// The chip's own memory between random AXI traffic and a reference.
//
// usage: harness SEED CYCLES BYTES
// Writes all BYTES once and reads them back, which gives the two efficiencies; then random bursts.
// Prints one JSON object.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vspram.h"
#include "axi_traffic.h"
#include "verilated.h"

int main(int argc, char **argv) {
    if (argc != 4) { std::fprintf(stderr, "harness: 3 arguments are needed\n"); return 2; }
    uint64_t cycles = std::strtoull(argv[2], nullptr, 0), cycle = 0;
    uint32_t size = uint32_t(std::strtoul(argv[3], nullptr, 0));
    VerilatedContext context;
    Vspram top{&context};
    std::vector<uint16_t> reference(size / 2);
    traffic::Manager manager(reference, std::strtoull(argv[1], nullptr, 0));
    auto step = [&] {
        if (!top.rst) manager.offer(top);
        top.clk = 0;
        top.eval();
        if (!top.rst) manager.settle(top, cycle);
        top.clk = 1;
        top.eval();
        ++cycle;
    };
    auto drain = [&] {
        manager.source = [](bool, traffic::Burst &) { return false; };
        manager.pace = {};
        for (unsigned count = 0; !manager.quiet() && count < 20000; ++count) step();
        if (!manager.quiet()) manager.errors.push_back("bursts are still unanswered");
    };
    top.rst = 1;
    for (unsigned count = 0; count < 4; ++count) step();
    top.rst = 0;
    traffic::Totals moved[2];
    for (bool write : {true, false}) {
        traffic::Sequence whole(0, size, 256);
        unsigned left = size / 512;
        manager.source = [&](bool is_write, traffic::Burst &burst) {
            return is_write == write && left && (--left, whole(burst));
        };
        while (left) step();
        drain();
        moved[write] = write ? manager.writes : manager.reads;
    }
    traffic::Mixture mixture(manager, size);
    manager.source = [&](bool write, traffic::Burst &burst) { return mixture(write, burst); };
    for (uint64_t end = cycle + cycles; cycle < end;) step();
    drain();
    auto share = [](const traffic::Totals &totals) {
        return double(totals.beats) / double(totals.last - totals.first + 1);
    };
    std::printf("{\"read\": %.4f, \"write\": %.4f, \"bursts\": %" PRIu64 ", \"errors\": [",
                share(moved[0]), share(moved[1]), manager.reads.bursts + manager.writes.bursts);
    for (size_t index = 0; index < manager.errors.size(); ++index)
        std::printf("%s\"%s\"", index ? ", " : "", manager.errors[index].c_str());
    std::printf("]}\n");
    top.final();
    return 0;
}
