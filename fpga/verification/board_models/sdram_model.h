// A checking model of a single-data-rate SDRAM: 4 banks x 8192 rows x 512 columns x 16 bits.
//
// Call clock() at every rising edge of the chip's clock, with the levels of its pins just before
// the edge and the time in picoseconds. From then until the next call, the chip drives dq() if
// driving() is not 0 (one bit per byte). Every rule that is broken is a line in violations():
// its name, the chip's clock cycle, and the numbers. The model goes on after a violation.
//
// Modelled: mode register (CAS latency 2 or 3; bursts of 1, 2, 4, 8; single or burst writes),
// activate, read, write, precharge, refresh, burst stop, dqm. Automatic precharge, power-down,
// self refresh and full-page bursts are reported as unsupported. Cells hold initial() until they
// are written.
#ifndef BITWRIGHT_SDRAM_MODEL_H
#define BITWRIGHT_SDRAM_MODEL_H

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace sdram {

constexpr unsigned BANKS = 4, ROWS = 8192, COLUMNS = 512;

// Limits in picoseconds; t_wr and t_mrd in clock cycles, the last two are counts.
struct Rules {
    int64_t t_rcd = 20000, t_rp = 20000, t_ras = 48000, t_ras_max = 100000000, t_rc = 70000,
            t_rfc = 70000, t_rrd = 15000, power_up = 200000000, refresh = 7812500;
    int64_t cas2_period = 10000;            // the shortest clock period of CAS latency 2
    int64_t t_wr = 2, t_mrd = 2, postponed = 8, initial_refreshes = 2;

    // The rule of that name, or null.
    int64_t *find(const std::string &name) {
        const std::pair<const char *, int64_t *> all[] = {
            {"t_rcd", &t_rcd}, {"t_rp", &t_rp}, {"t_ras", &t_ras}, {"t_ras_max", &t_ras_max},
            {"t_rc", &t_rc}, {"t_rfc", &t_rfc}, {"t_rrd", &t_rrd}, {"power_up", &power_up},
            {"refresh", &refresh}, {"cas2_period", &cas2_period}, {"t_wr", &t_wr},
            {"t_mrd", &t_mrd}, {"postponed", &postponed},
            {"initial_refreshes", &initial_refreshes}};
        for (const auto &[known, value] : all)
            if (name == known) return value;
        return nullptr;
    }
};

struct Pins {
    bool cke = false, cs_n = true, ras_n = true, cas_n = true, we_n = true;
    unsigned ba = 0, a = 0, dqm = 3, dq = 0;
    bool dq_oe = false;                     // the controller drives dq
};

class Chip {
public:
    explicit Chip(const Rules &rules = Rules())
        : rules(rules), cells(size_t(BANKS) * ROWS * COLUMNS) {
        for (size_t word = 0; word < cells.size(); ++word) cells[word] = initial(word);
    }

    // Word addresses count columns, then banks, then rows.
    static uint16_t initial(uint32_t word) { return uint16_t((word * 2654435761u) >> 13); }
    uint16_t &word(uint32_t address) { return cells[address]; }

    unsigned driving() const { return drive; }
    uint16_t dq() const { return drive_data; }
    const std::vector<std::string> &violations() const { return found; }
    uint64_t refreshes() const { return refresh_count; }
    bool ready() const { return state == READY; }

    void clock(const Pins &pins, int64_t time_ps) {
        if (cycle && time_ps <= now) report("time", "does not advance");
        period = cycle ? time_ps - now : 0;
        now = time_ps;
        if (!cycle) power = now;
        check_bus(pins);
        if (!pins.cke && state != POWER_UP) report("cke", "low: power-down is unsupported");
        unsigned order = NOP;
        if (!pins.cs_n) order = pins.ras_n << 2 | pins.cas_n << 1 | unsigned(pins.we_n);
        if (order == NOP || order == STOP) {
            if (order == STOP) end_burst();
        } else if (state != READY) {
            start(order, pins);
        } else {
            obey(order, pins);
        }
        burst(pins);
        outputs(pins);
        check_waiting();
        ++cycle;
    }

private:
    enum { MODE = 0, REFRESH = 1, PRECHARGE = 2, ACTIVATE = 3, WRITE = 4, READ = 5, STOP = 6,
           NOP = 7 };
    enum State { POWER_UP, CLOSED, READY };
    static constexpr int64_t NEVER = -(int64_t(1) << 60);

    struct Bank {
        bool open = false, too_long = false;
        unsigned row = 0;
        int64_t activated = NEVER, precharged = NEVER;
        int64_t written = NEVER;            // cycle of the last written beat
    };
    struct Beat { bool valid = false; uint16_t data = 0; };

    Rules rules;
    std::vector<uint16_t> cells;
    std::vector<std::string> found;
    Bank banks[BANKS];
    State state = POWER_UP;
    int64_t now = 0, period = 0, power = 0, cycle = 0;
    int64_t refreshed = NEVER, refresh_due = 0, last_activate = NEVER, mode_cycle = NEVER;
    uint64_t refresh_count = 0;
    unsigned cas = 3, burst_length = 1;
    bool single_writes = false, interleaved = false;
    // The running burst: bank, row, first column, beats done.
    bool active = false, writing = false;
    unsigned bank = 0, row = 0, column = 0, done = 0;
    Beat pipe[4];                           // read beats by the edge they are sampled at
    unsigned mask = 3;                      // dqm at the edge before
    unsigned drive = 0, drove = 0;
    uint16_t drive_data = 0;

    void report(const char *rule, const char *format, ...) {
        if (found.size() >= 100) return;
        char text[200];
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        found.push_back(std::string(rule) + " at cycle " + std::to_string(cycle) + ": " + text);
    }

    void since(const char *rule, int64_t event, int64_t limit, const char *what, unsigned which) {
        if (event != NEVER && now - event < limit)
            report(rule, "bank %u: %.3f ns %s, needs %.3f ns", which, (now - event) / 1e3, what,
                   limit / 1e3);
    }

    // Nothing may follow a mode register write or a refresh too soon.
    void settled() {
        if (mode_cycle != NEVER && cycle - mode_cycle < rules.t_mrd)
            report("tMRD", "%lld cycles since the mode register was set, needs %lld",
                   (long long)(cycle - mode_cycle), (long long)rules.t_mrd);
        if (refreshed != NEVER && now - refreshed < rules.t_rfc)
            report("tRFC", "%.3f ns since the refresh, needs %.3f ns", (now - refreshed) / 1e3,
                   rules.t_rfc / 1e3);
    }

    void start(unsigned order, const Pins &pins) {
        if (state == POWER_UP) {
            if (now - power < rules.power_up)
                report("power-up", "first command after %.3f us, needs %.3f us",
                       (now - power) / 1e6, rules.power_up / 1e6);
            if (order != PRECHARGE || !(pins.a >> 10 & 1))
                report("power-up", "the first command must precharge all banks");
            state = CLOSED;
        }
        obey(order, pins);
    }

    void obey(unsigned order, const Pins &pins) {
        settled();
        switch (order) {
        case ACTIVATE: activate(pins.ba, pins.a); break;
        case PRECHARGE: precharge(pins.ba, pins.a >> 10 & 1); break;
        case REFRESH: refresh(); break;
        case MODE: set_mode(pins.a, pins.ba); break;
        default: access(order == WRITE, pins.ba, pins.a);
        }
    }

    void activate(unsigned which, unsigned to) {
        Bank &target = banks[which];
        if (state != READY) report("power-up", "activate before the mode register is set");
        if (target.open)
            report("bank open", "bank %u: activate of row %u, row %u is open", which, to,
                   target.row);
        since("tRP", target.precharged, rules.t_rp, "since the precharge", which);
        since("tRC", target.activated, rules.t_rc, "since the last activate", which);
        since("tRRD", last_activate, rules.t_rrd, "since the activate of another bank", which);
        target.open = true;
        target.too_long = false;
        target.row = to % ROWS;
        target.activated = last_activate = now;
    }

    void precharge(unsigned which, bool all) {
        for (unsigned index = 0; index < BANKS; ++index) {
            Bank &target = banks[index];
            if (!all && index != which) continue;
            if (active && bank == index) end_burst();
            if (!target.open) {             // no operation, but for the chip's start
                if (state != READY) target.precharged = now;
                continue;
            }
            since("tRAS", target.activated, rules.t_ras, "since the activate", index);
            if (target.written != NEVER && cycle - target.written < rules.t_wr)
                report("tWR", "bank %u: %lld cycles since the last written beat, needs %lld", index,
                       (long long)(cycle - target.written), (long long)rules.t_wr);
            target.open = false;
            target.precharged = now;
        }
    }

    void closed(const char *what) {
        for (unsigned index = 0; index < BANKS; ++index) {
            if (banks[index].open)
                report("bank open", "bank %u: %s while row %u is open", index, what,
                       banks[index].row);
            since("tRP", banks[index].precharged, rules.t_rp, "since the precharge", index);
            since("tRC", banks[index].activated, rules.t_rc, "since the last activate", index);
        }
    }

    void refresh() {
        closed("refresh");
        refreshed = now;
        ++refresh_count;
        if (state != READY) return;
        refresh_due += rules.refresh;       // at most as many in advance as may be postponed
        int64_t latest = now + rules.refresh * (2 * rules.postponed + 1);
        if (refresh_due > latest) refresh_due = latest;
    }

    void set_mode(unsigned value, unsigned which) {
        closed("mode register set");
        if (int64_t(refresh_count) < rules.initial_refreshes)
            report("power-up", "%llu refreshes before the mode register is set, needs %lld",
                   (unsigned long long)refresh_count, (long long)rules.initial_refreshes);
        cas = value >> 4 & 7;
        if (which || value >> 10 || (value >> 7 & 3) || (value & 7) > 3 || (cas != 2 && cas != 3))
            report("mode", "value %#x (bank %u) is unsupported", value, which);
        if (cas != 2) cas = 3;
        if (cas == 2 && period && period < rules.cas2_period)
            report("mode", "CAS latency 2 with a clock of %.3f ns, needs %.3f ns", period / 1e3,
                   rules.cas2_period / 1e3);
        burst_length = 1u << (value & 3);
        interleaved = value >> 3 & 1;
        single_writes = value >> 9 & 1;
        mode_cycle = cycle;
        if (state != READY) refresh_due = now + rules.refresh * (rules.postponed + 1);
        state = READY;
    }

    void access(bool write, unsigned which, unsigned address) {
        const char *what = write ? "write" : "read";
        Bank &target = banks[which];
        if (address >> 10 & 1) report("unsupported", "%s with automatic precharge", what);
        if (!target.open) {
            report("bank closed", "bank %u: %s, no row is open", which, what);
            since("tRP", target.precharged, rules.t_rp, "since the precharge", which);
            return;
        }
        since("tRCD", target.activated, rules.t_rcd, "since the activate", which);
        end_burst();
        active = true;
        writing = write;
        bank = which;
        row = target.row;
        column = address % COLUMNS;
        done = 0;
    }

    // What a newer command cuts short ends here; a read's beats already under way still come.
    void end_burst() { active = false; }

    void burst(const Pins &pins) {
        if (!active) return;
        unsigned length = writing && single_writes ? 1 : burst_length;
        unsigned step = interleaved ? (column ^ done) : (column + done);
        unsigned at = (column & ~(length - 1)) | (step & (length - 1));
        uint16_t &cell = cells[(size_t(row) * BANKS + bank) * COLUMNS + at];
        if (writing) {
            if (!pins.dq_oe && pins.dqm != 3) report("bus", "write while nobody drives dq");
            for (unsigned byte = 0; byte < 2; ++byte)
                if (!(pins.dqm >> byte & 1))
                    cell = (cell & ~(0xff << 8 * byte)) | (pins.dq & (0xff << 8 * byte));
            banks[bank].written = cycle;
        } else {
            pipe[cas].valid = true;
            pipe[cas].data = cell;
        }
        if (++done == length) active = false;
    }

    // A beat read at an edge is sampled CAS edges later, and on the bus from the edge before.
    // dqm takes back what is sampled two edges later.
    void outputs(const Pins &pins) {
        for (unsigned stage = 0; stage < 3; ++stage) pipe[stage] = pipe[stage + 1];
        pipe[3] = Beat();
        drove = drive;
        drive = pipe[0].valid ? 3 & ~mask : 0;
        drive_data = pipe[0].data;
        mask = pins.dqm;
    }

    void check_bus(const Pins &pins) {
        if (!pins.dq_oe) return;
        if (drive) report("bus", "the controller drives dq while the chip does");
        else if (drove) report("bus", "the controller drives dq in the cycle after the chip");
    }

    void check_waiting() {
        if (state != READY) return;
        if (now > refresh_due) {
            report("refresh", "%llu refreshes, more than %lld are postponed",
                   (unsigned long long)refresh_count, (long long)rules.postponed);
            refresh_due += rules.refresh;
        }
        for (unsigned index = 0; index < BANKS; ++index) {
            Bank &target = banks[index];
            if (target.open && !target.too_long && now - target.activated > rules.t_ras_max) {
                report("tRAS", "bank %u: open for %.3f us, at most %.3f us", index,
                       (now - target.activated) / 1e6, rules.t_ras_max / 1e6);
                target.too_long = true;
            }
        }
    }
};

}  // namespace sdram

#endif
