// An AXI4 manager with 16-bit data that makes traffic and compares every answer with a reference.
//
// At most OUTSTANDING reads and as many writes are in flight; a read and a write that overlap never
// are, since AXI does not order them. Use: offer() sets the inputs of a Verilated subordinate
// before the clock edge, settle() looks at its outputs.
#ifndef BITWRIGHT_AXI_TRAFFIC_H
#define BITWRIGHT_AXI_TRAFFIC_H

#include <cstdint>
#include <deque>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace traffic {

constexpr unsigned OUTSTANDING = 4;

struct Burst {
    uint32_t addr;
    unsigned beats, strobes;                // strobes: 0 all, 1 random, 2 mostly none
    uint64_t taken = 0;                     // cycle of the address
    unsigned done = 0;
    bool accepted = false;
};

// Shares of the cycles in which a channel has nothing to offer, in percent.
struct Pace { unsigned ar = 0, aw = 0, w = 0; bool early_data = false; };

struct Totals { uint64_t beats = 0, bursts = 0, first = 0, last = 0; };

class Manager {
public:
    using Source = std::function<bool(bool write, Burst &burst)>;   // false: no burst now

    Manager(std::vector<uint16_t> &reference, uint64_t seed)
        : random(seed), reference(reference) {}

    std::mt19937_64 random;
    Pace pace;
    Source source;
    Totals reads, writes;
    uint64_t last_latency = 0;              // cycles from a read's address to its first beat
    std::vector<std::string> errors;

    unsigned below(unsigned limit) { return unsigned(random() % limit); }
    bool quiet() const { return read_bursts.empty() && write_bursts.empty(); }

    template <class Top> void offer(Top &top) {
        generate(false, pace.ar, read_bursts);
        generate(true, pace.aw, write_bursts);
        Burst *read = waiting(read_bursts), *write = waiting(write_bursts);
        top.arvalid = read != nullptr;
        top.araddr = read ? read->addr : uint32_t(random());
        top.arlen = read ? read->beats - 1 : 0;
        top.awvalid = write != nullptr;
        top.awaddr = write ? write->addr : uint32_t(random());
        top.awlen = write ? write->beats - 1 : 0;
        top.arsize = top.awsize = top.arburst = top.awburst = 1;
        top.rready = top.bready = 1;
        if (!data_offered) choose_data();
        top.wvalid = data_offered;
        top.wdata = data;
        top.wstrb = strobes;
        top.wlast = data_offered && data_burst().done + 1 == data_burst().beats;
    }

    template <class Top> void settle(Top &top, uint64_t cycle) {
        if (top.arvalid && top.arready) accept(*waiting(read_bursts), cycle);
        if (top.awvalid && top.awready) accept(*waiting(write_bursts), cycle);
        if (top.wvalid && top.wready) send(cycle);
        if (top.rvalid) receive(top.rdata, top.rresp, top.rlast, cycle);
        if (top.bvalid) answer(top.bresp, cycle);
    }

private:
    std::vector<uint16_t> &reference;
    std::deque<Burst> read_bursts, write_bursts;
    bool data_offered = false;
    uint16_t data = 0;
    unsigned strobes = 3;

    void fail(const std::string &text, uint64_t cycle) {
        if (errors.size() < 20) errors.push_back(text + " at cycle " + std::to_string(cycle));
    }

    bool outside(uint32_t addr) const { return addr / 2 >= reference.size(); }

    static Burst *waiting(std::deque<Burst> &bursts) {
        for (Burst &burst : bursts)
            if (!burst.accepted) return &burst;
        return nullptr;
    }

    void generate(bool write, unsigned idle, std::deque<Burst> &bursts) {
        if (bursts.size() >= OUTSTANDING || waiting(bursts) || (idle && below(100) < idle)) return;
        Burst burst{};
        if (!source(write, burst)) return;
        for (const Burst &other : write ? read_bursts : write_bursts)
            if (burst.addr < other.addr + 2 * other.beats
                && other.addr < burst.addr + 2 * burst.beats) return;
        bursts.push_back(burst);
    }

    void accept(Burst &burst, uint64_t cycle) {
        burst.accepted = true;
        burst.taken = cycle;
    }

    // The burst that the next data beat belongs to.
    Burst &data_burst() {
        for (Burst &burst : write_bursts)
            if (burst.done < burst.beats) return burst;
        return write_bursts.back();
    }

    void choose_data() {
        if (write_bursts.empty() || (pace.w && below(100) < pace.w)) return;
        Burst &burst = data_burst();
        if (burst.done == burst.beats || !(burst.accepted || pace.early_data)) return;
        data_offered = true;
        data = uint16_t(random());
        strobes = burst.strobes == 0 ? 3 : burst.strobes == 1 ? below(4) : below(8) ? 0 : 3;
    }

    static void count(Totals &totals, uint64_t cycle) {
        if (!totals.beats++) totals.first = cycle;
        totals.last = cycle;
    }

    void send(uint64_t cycle) {
        Burst &burst = data_burst();
        if (!burst.accepted) fail("a beat was taken before its address", cycle);
        uint32_t addr = burst.addr + 2 * burst.done++;
        data_offered = false;
        count(writes, cycle);
        if (outside(addr)) return;
        uint16_t mask = (strobes & 1 ? 0xff : 0) | (strobes & 2 ? 0xff00 : 0);
        uint16_t &word = reference[addr / 2];
        word = (word & ~mask) | (data & mask);
    }

    void receive(uint16_t value, unsigned response, bool last, uint64_t cycle) {
        if (read_bursts.empty() || !read_bursts.front().accepted)
            return fail("a read beat that nobody asked for", cycle);
        Burst &burst = read_bursts.front();
        uint32_t addr = burst.addr + 2 * burst.done;
        if (!burst.done++) last_latency = cycle - burst.taken;
        count(reads, cycle);
        if (response != (outside(addr) ? 3u : 0u))
            fail("response " + std::to_string(response) + " to a read of " + std::to_string(addr),
                 cycle);
        if (!outside(addr) && value != reference[addr / 2])
            fail("read " + std::to_string(value) + " instead of "
                 + std::to_string(reference[addr / 2]) + " from " + std::to_string(addr), cycle);
        if (last != (burst.done == burst.beats)) fail("rlast is wrong", cycle);
        if (burst.done == burst.beats) { read_bursts.pop_front(); ++reads.bursts; }
    }

    void answer(unsigned response, uint64_t cycle) {
        if (write_bursts.empty() || write_bursts.front().done < write_bursts.front().beats)
            return fail("an answer before the last beat", cycle);
        uint32_t addr = write_bursts.front().addr;
        if (response != (outside(addr) ? 3u : 0u))
            fail("response " + std::to_string(response) + " to a write of " + std::to_string(addr),
                 cycle);
        write_bursts.pop_front();
        ++writes.bursts;
    }
};

// Bursts from address to address, up to the end of the region, then from its start.
struct Sequence {
    uint32_t start, bytes, at = 0;
    unsigned beats;
    Sequence(uint32_t start, uint32_t bytes, unsigned beats)
        : start(start), bytes(bytes), beats(beats) {}
    bool operator()(Burst &burst) {
        burst = Burst{start + at, beats, 0};
        at = (at + 2 * beats) % bytes;
        return true;
    }
};

// Random bursts whose character changes every few hundred.
class Mixture {
public:
    Mixture(Manager &manager, uint32_t size) : manager(manager), size(size) { change(); }

    bool operator()(bool write, Burst &burst) {
        if (!left--) change();
        if (kind == 3 && write) return false;
        if (kind == 4 && !write) return false;
        unsigned beats = lengths == 0 ? 1 : lengths == 1 ? 1 + manager.below(8)
                         : lengths == 2 ? 256 : 1 + manager.below(256);
        uint32_t page = kind == 0 ? manager.below(size / 4096)
                        : (base + manager.below(4) * stride) % (size / 4096);
        if (!manager.below(50)) page = size / 4096 + manager.below(0x100000 - size / 4096);
        unsigned first = manager.below(2049 - beats);
        if (manager.below(4) == 0) first &= ~511u;
        if (first + beats > 2048) first = 2048 - beats;
        burst = Burst{page * 4096 + 2 * first, beats, strobes};
        return true;
    }

private:
    Manager &manager;
    uint32_t size;
    unsigned left = 0, kind = 0, lengths = 0, strobes = 0, base = 0, stride = 1;

    void change() {
        static const unsigned shares[] = {0, 0, 20, 90};
        left = 20 + manager.below(200);
        kind = manager.below(5);            // 0 anywhere, 3 reads alone, 4 writes alone
        lengths = manager.below(4);
        strobes = manager.below(3);
        base = manager.below(size / 4096);
        stride = manager.below(3);          // 0: one page of 4 KiB
        manager.pace = {shares[manager.below(4)], shares[manager.below(4)],
                        shares[manager.below(4)], manager.below(2) == 1};
        if (!manager.below(8)) manager.pace.ar = manager.pace.aw = 99;
    }
};

}  // namespace traffic

#endif
