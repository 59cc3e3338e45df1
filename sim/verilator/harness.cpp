// Full-speed harness: drives programs through the core, one after another, and models its memory.
//
// Memory: one half-duplex data bus of the core's width. Bursts are served in the order their
// addresses were taken (reads before writes within a cycle). A burst's first beat comes no sooner
// than LATENCY cycles after its address and not before the burst ahead has ended; then one beat
// every INTERVAL cycles. A write is answered in the cycle after its last beat.
//
// usage: harness IMAGE DUMP DUMP_ADDR DUMP_BYTES PROGRAM LENGTH LATENCY INTERVAL MAX_CYCLES FAULT
//                [PROGRAM LENGTH …]
// The first eight bytes of IMAGE give the memory's size in bytes. FAULT is the address of a beat
// that is answered with an error, or -1. More programs start when the one before has ended well,
// without a reset between them. Prints one JSON object, with counters by program.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "Vbitwright.h"
#include "verilated.h"

namespace {

struct Burst { bool write; uint64_t addr; unsigned beats; uint64_t arrival; };

struct Bench {
    VerilatedContext context;
    Vbitwright top{&context};
    std::vector<uint8_t> memory;
    std::deque<Burst> bursts;
    std::deque<unsigned> answers;
    uint64_t cycle = 0, free_at = 0, latency, interval, wait_until = 0;
    int64_t fault;
    unsigned beat_bytes = sizeof(top.m_axi_wdata);
    unsigned sent = 0;
    bool write_fault = false, stray = false;

    void cycle_once() {
        bool active = !bursts.empty() && cycle >= bursts.front().arrival + latency
                      && cycle >= free_at;
        bool reading = active && !bursts.front().write, writing = active && bursts.front().write;
        uint64_t addr = active ? bursts.front().addr + uint64_t(sent) * beat_bytes : 0;
        bool inside = addr + beat_bytes <= memory.size();
        bool bad = active && (!inside || (fault >= 0 && addr == uint64_t(fault)));
        top.m_axi_arready = top.m_axi_awready = 1;
        top.m_axi_rvalid = reading;
        top.m_axi_rlast = reading && sent + 1 == bursts.front().beats;
        top.m_axi_rresp = bad ? 2 : 0;
        if (reading && inside) std::memcpy(&top.m_axi_rdata, &memory[addr], beat_bytes);
        top.m_axi_wready = writing;
        top.m_axi_bvalid = !answers.empty();
        top.m_axi_bresp = answers.empty() ? 0 : answers.front();
        top.clk = 0;
        top.eval();
        bool moved = reading || (writing && top.m_axi_wvalid);
        if (writing && moved) {
            if (inside) std::memcpy(&memory[addr], &top.m_axi_wdata, beat_bytes);
            write_fault |= bad;
        }
        if (top.m_axi_wvalid && writing
            && bool(top.m_axi_wlast) != (sent + 1 == bursts.front().beats)) stray = true;
        if (!answers.empty() && top.m_axi_bready) answers.pop_front();
        if (moved) {
            free_at = cycle + interval;
            if (++sent == bursts.front().beats) {
                if (writing) { answers.push_back(write_fault ? 2 : 0); write_fault = false; }
                bursts.pop_front();
                sent = 0;
            }
        }
        if (top.m_axi_arvalid)
            bursts.push_back({false, top.m_axi_araddr, top.m_axi_arlen + 1u, cycle});
        if (top.m_axi_awvalid)
            bursts.push_back({true, top.m_axi_awaddr, top.m_axi_awlen + 1u, cycle});
        top.clk = 1;
        top.eval();
        ++cycle;
    }

    void write_register(unsigned address, uint32_t value) {
        top.s_axil_awaddr = address;
        top.s_axil_wdata = value;
        top.s_axil_wstrb = 15;
        top.s_axil_awvalid = top.s_axil_wvalid = top.s_axil_bready = 1;
        cycle_once();  // the core takes address and data together, at once
        top.s_axil_awvalid = top.s_axil_wvalid = 0;
        cycle_once();
    }

    uint32_t read_register(unsigned address) {
        top.s_axil_araddr = address;
        top.s_axil_arvalid = top.s_axil_rready = 1;
        do cycle_once(); while (!top.s_axil_rvalid);  // a counter waits for its turn
        top.s_axil_arvalid = 0;
        uint32_t value = top.s_axil_rdata;
        cycle_once();
        return value;
    }
};

int fail(const char *what) { std::fprintf(stderr, "harness: %s\n", what); return 3; }

}  // namespace

int main(int argc, char **argv) {
    if (argc < 11 || argc % 2 == 0) return fail("10 arguments are needed, and two for each further program");
    uint64_t dump_addr = std::strtoull(argv[3], nullptr, 0), dump_bytes = std::strtoull(argv[4], nullptr, 0);
    uint64_t max_cycles = std::strtoull(argv[9], nullptr, 0);
    Bench bench;
    bench.latency = std::strtoull(argv[7], nullptr, 0);
    bench.interval = std::strtoull(argv[8], nullptr, 0);
    bench.fault = std::strtoll(argv[10], nullptr, 0);
    FILE *image = std::fopen(argv[1], "rb");
    uint64_t size = 0;
    if (!image || std::fread(&size, 1, 8, image) != 8) return fail("cannot read the image");
    bench.memory.resize(size);
    if (std::fread(bench.memory.data(), 1, size, image) > size) return fail("cannot read the image");
    std::fclose(image);
    if (dump_addr > size || dump_bytes > size - dump_addr) return fail("dump outside of memory");

    bench.top.rst = 1;
    for (int i = 0; i < 4; ++i) bench.cycle_once();
    bench.top.rst = 0;
    uint32_t status = 2;
    std::string counters;
    for (int at = 5; at < argc && (status & 7) == 2; at = at == 5 ? 11 : at + 2) {
        bench.write_register(0x10, std::strtoul(argv[at], nullptr, 0));
        bench.write_register(0x14, std::strtoul(argv[at + 1], nullptr, 0));
        bench.write_register(0x08, 1);
        while ((status = bench.read_register(0x0c)) & 1) {
            if (bench.cycle > max_cycles || bench.stray) break;
            for (int i = 0; i < 16; ++i) bench.cycle_once();
        }
        if (bench.stray) return fail("a write burst ended at the wrong beat");
        for (unsigned i = 0; i < COUNTERS; ++i)
            counters += (i ? ", " : at == 5 ? "[" : ", [")
                        + std::to_string(bench.read_register(0x40 + 4 * i));
        counters += "]";
    }
    std::printf("{\"status\": %u, \"identity\": %u, \"simulated_cycles\": %llu, \"counters\": [%s]}\n",
                status, bench.read_register(0x04), (unsigned long long)bench.cycle, counters.c_str());
    FILE *dump = std::fopen(argv[2], "wb");
    if (!dump || std::fwrite(&bench.memory[0] + dump_addr, 1, dump_bytes, dump) != dump_bytes
        || std::fclose(dump)) return fail("cannot write the dump");
    bench.top.final();
    return 0;
}
