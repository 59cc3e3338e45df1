// The link's endpoint and the arbiter, with a memory, registers, and traffic of a core beside it.
//
// usage: harness CLOCKS_PER_BIT MEMORY_BYTES FAULT SEED TRAFFIC DUMP
// Prints the pseudo-terminal's path. FAULT is the address of a word that is answered with SLVERR.
// With TRAFFIC 1 a core reads and writes the upper half of the memory and checks what it reads;
// with 0 the simulation sleeps while the line is idle. SIGUSR1 sends a break. SIGTERM ends it:
// memory goes to DUMP and one JSON object to the output.
//
// Register 0x08 counts writes with bit 0 set, which 0x0c reads; 0x3c answers with SLVERR; the
// others hold what was written.
#include <csignal>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include "Vlink_bench.h"
#include "uart_pty.h"
#include "verilated.h"

namespace {

volatile std::sig_atomic_t ending = 0, breaking = 0;

struct Burst { bool write; uint32_t addr; unsigned beats; };
struct Expected { std::vector<uint16_t> words; };

struct Bench {
    VerilatedContext context;
    Vlink_bench top{&context};
    UartPty uart;
    std::mt19937 random;
    std::vector<uint8_t> memory, shadow;
    std::deque<Burst> bursts;
    std::deque<unsigned> answers;
    std::deque<Expected> reads;
    std::deque<std::vector<uint16_t>> writes;
    uint32_t fault, registers[64] = {};
    unsigned sent = 0, read_beat = 0, write_beat = 0, unanswered = 0, starts = 0;
    uint64_t cycle = 0, quiet = 0, core_bursts = 0, core_errors = 0, link_bursts = 0;
    bool traffic, write_fault = false, have_address = false, have_data = false;
    uint32_t axil_address = 0, axil_data = 0;

    Bench(unsigned clocks, uint32_t bytes, uint32_t fault_, unsigned seed, bool traffic_)
        : uart(clocks), random(seed), memory(bytes), shadow(bytes), fault(fault_),
          traffic(traffic_) {}

    bool chance(unsigned of) { return random() % of == 0; }

    uint16_t word(const std::vector<uint8_t> &bytes, uint32_t at) const {
        uint16_t value;
        std::memcpy(&value, &bytes[at], 2);
        return value;
    }

    void offer_core() {
        if (!traffic) return;
        uint32_t half = uint32_t(memory.size() / 2);
        for (int write = 0; write < 2; ++write) {
            auto &valid = write ? top.core_awvalid : top.core_arvalid;
            if (valid || !chance(20) || reads.size() >= 4 || unanswered >= 4) continue;
            uint32_t addr = half + (random() % (half / 2)) * 2;
            unsigned beats = 1 + random() % 16;
            if (addr + 2 * beats > memory.size()) beats = 1;
            (write ? top.core_awaddr : top.core_araddr) = addr;
            (write ? top.core_awlen : top.core_arlen) = beats - 1;
            valid = 1;
        }
        top.core_wvalid = !writes.empty();
        if (!writes.empty()) {
            top.core_wdata = writes.front()[write_beat];
            top.core_wlast = write_beat + 1 == writes.front().size();
        }
    }

    void take_core() {
        if (!traffic) return;
        if (top.core_rvalid) {
            if (reads.empty()) { ++core_errors; }
            else {
                auto &words = reads.front().words;
                core_errors += words[read_beat] != top.core_rdata;
                core_errors += bool(top.core_rlast) != (read_beat + 1 == words.size());
                if (++read_beat == words.size()) { reads.pop_front(); read_beat = 0; ++core_bursts; }
            }
        }
        if (top.core_bvalid) {
            if (unanswered) --unanswered; else ++core_errors;
            ++core_bursts;
        }
        if (top.core_wvalid && top.core_wready && ++write_beat == writes.front().size()) {
            writes.pop_front();
            write_beat = 0;
        }
    }

    void take_core_addresses(bool read, bool write) {
        if (read) {
            Expected expected;
            for (unsigned i = 0; i <= top.core_arlen; ++i)
                expected.words.push_back(word(shadow, top.core_araddr + 2 * i));
            reads.push_back(expected);
            top.core_arvalid = 0;
        }
        if (write) {
            std::vector<uint16_t> words;
            for (unsigned i = 0; i <= top.core_awlen; ++i) {
                words.push_back(uint16_t(random()));
                std::memcpy(&shadow[top.core_awaddr + 2 * i], &words.back(), 2);
            }
            writes.push_back(words);
            ++unanswered;
            top.core_awvalid = 0;
        }
    }

    // What the registers take in this cycle; applied after its edge.
    struct Taken { bool aw, w, b, ar, r; uint32_t awaddr, wdata, araddr; };
    Taken registers_take() const {
        return {top.m_axil_awvalid && top.m_axil_awready, top.m_axil_wvalid && top.m_axil_wready,
                top.m_axil_bvalid && top.m_axil_bready, top.m_axil_arvalid && top.m_axil_arready,
                top.m_axil_rvalid && top.m_axil_rready, top.m_axil_awaddr, top.m_axil_wdata,
                top.m_axil_araddr};
    }

    void registers_step(const Taken &now) {
        if (now.aw) { have_address = true; axil_address = now.awaddr; }
        if (now.w) { have_data = true; axil_data = now.wdata; }
        if (now.b) top.m_axil_bvalid = 0;
        else if (have_address && have_data && !top.m_axil_bvalid) {
            have_address = have_data = false;
            top.m_axil_bvalid = 1;
            top.m_axil_bresp = axil_address == 0x3c ? 2 : 0;
            if (axil_address == 8) starts += axil_data & 1;
            else registers[axil_address / 4] = axil_data;
        }
        if (now.r) top.m_axil_rvalid = 0;
        else if (now.ar) {
            top.m_axil_rvalid = 1;
            top.m_axil_rresp = now.araddr == 0x3c ? 2 : 0;
            top.m_axil_rdata = now.araddr == 0x0c ? starts : registers[now.araddr / 4];
        }
        top.m_axil_awready = !have_address && chance(3);
        top.m_axil_wready = !have_data && chance(3);
        top.m_axil_arready = !top.m_axil_rvalid && chance(2);
    }

    void cycle_once() {
        offer_core();
        bool active = !bursts.empty() && (sent ? !chance(8) : chance(6));
        bool reading = active && !bursts.front().write, writing = active && bursts.front().write;
        uint32_t addr = active ? bursts.front().addr + 2 * sent : 0;
        bool bad = active && (addr + 2 > memory.size() || addr == fault);
        top.m_axi_arready = bursts.size() < 6 && !chance(3);
        top.m_axi_awready = bursts.size() < 6 && !chance(3);
        top.m_axi_rvalid = reading;
        top.m_axi_rlast = reading && sent + 1 == bursts.front().beats;
        top.m_axi_rresp = bad ? 2 : 0;
        top.m_axi_rdata = reading && !bad ? word(memory, addr) : uint16_t(random());
        top.m_axi_wready = writing;
        top.m_axi_bvalid = !answers.empty();
        top.m_axi_bresp = answers.empty() ? 0 : answers.front();
        top.clk = 0;
        top.eval();
        take_core();
        bool moved = reading || (writing && top.m_axi_wvalid);
        if (writing && moved) {
            if (!bad) std::memcpy(&memory[addr], &top.m_axi_wdata, 2);
            write_fault |= bad;
            core_errors += bool(top.m_axi_wlast) != (sent + 1 == bursts.front().beats);
        }
        core_errors += reading && !top.m_axi_rready;
        if (!answers.empty() && top.m_axi_bready) answers.pop_front();
        if (moved && ++sent == bursts.front().beats) {
            if (writing) { answers.push_back(write_fault ? 2 : 0); write_fault = false; }
            bursts.pop_front();
            sent = 0;
        }
        bool core_ar = top.core_arvalid && top.core_arready, core_aw = top.core_awvalid && top.core_awready;
        if (top.m_axi_arvalid && top.m_axi_arready) {
            bursts.push_back({false, top.m_axi_araddr, top.m_axi_arlen + 1u});
            link_bursts += !core_ar;
        }
        if (top.m_axi_awvalid && top.m_axi_awready) {
            bursts.push_back({true, top.m_axi_awaddr, top.m_axi_awlen + 1u});
            link_bursts += !core_aw;
        }
        Taken taken = registers_take();
        top.rx = uart.step(top.tx);
        top.clk = 1;
        top.eval();
        registers_step(taken);
        take_core_addresses(core_ar, core_aw);
        ++cycle;
        quiet = uart.idle() && bursts.empty() ? quiet + 1 : 0;
        if (!traffic && quiet > 5000) {
            uart.wait(50);
            quiet = 0;
        }
        if (breaking) { breaking = 0; uart.send_break(25); }
    }
};

}  // namespace

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    Bench bench(unsigned(std::atoi(argv[1])), uint32_t(std::atoi(argv[2])),
                uint32_t(std::atoi(argv[3])), unsigned(std::atoi(argv[4])), argv[5][0] == '1');
    std::signal(SIGTERM, [](int) { ending = 1; });
    std::signal(SIGUSR1, [](int) { breaking = 1; });
    bench.top.core_rready = bench.top.core_bready = bench.top.rx = 1;
    bench.top.core_wstrb = 3;
    bench.top.rst = 1;
    for (int i = 0; i < 4; ++i) { bench.top.clk = 0; bench.top.eval(); bench.top.clk = 1; bench.top.eval(); }
    bench.top.rst = 0;
    std::printf("%s\n", bench.uart.path().c_str());
    std::fflush(stdout);
    while (!ending) bench.cycle_once();
    std::printf("{\"cycles\": %llu, \"core_bursts\": %llu, \"core_errors\": %llu, \"link_bursts\": %llu, "
                "\"starts\": %u}\n", (unsigned long long)bench.cycle,
                (unsigned long long)bench.core_bursts, (unsigned long long)bench.core_errors,
                (unsigned long long)bench.link_bursts, bench.starts);
    FILE *dump = std::fopen(argv[6], "wb");
    if (!dump || std::fwrite(bench.memory.data(), 1, bench.memory.size(), dump) != bench.memory.size()
        || std::fclose(dump)) return 3;
    return 0;
}
