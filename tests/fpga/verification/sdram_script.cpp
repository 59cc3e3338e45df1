// Plays commands to the SDRAM model. Input, one per line and in order:
//     CYCLE ORDER BANK ADDRESS DQM DQ      (DQ -1: the controller does not drive)
// with ORDER as ras_n, cas_n, we_n. The last line's CYCLE is the end. Prints "dq CYCLE MASK VALUE"
// for every cycle at whose end a read beat is on the bus, then the violations.
#include <cstdio>
#include <cstdlib>

#include "sdram_model.h"

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    int64_t period = std::atoll(argv[1]), cycle = 0;
    sdram::Chip chip;
    long long at, order, bank, address, dqm, dq;
    auto clock = [&](const sdram::Pins &pins) {
        if (chip.driving())
            std::printf("dq %lld %u %u\n", (long long)cycle, chip.driving(), chip.dq());
        chip.clock(pins, cycle++ * period);
    };
    sdram::Pins idle;
    idle.cke = true;
    idle.dqm = 0;
    while (std::scanf("%lld %lld %lld %lld %lld %lld", &at, &order, &bank, &address, &dqm, &dq)
           == 6) {
        while (cycle < at) clock(idle);
        sdram::Pins pins = idle;
        pins.cs_n = false;
        pins.ras_n = order >> 2 & 1;
        pins.cas_n = order >> 1 & 1;
        pins.we_n = order & 1;
        pins.ba = unsigned(bank);
        pins.a = unsigned(address);
        pins.dqm = unsigned(dqm);
        pins.dq_oe = dq >= 0;
        pins.dq = unsigned(dq >= 0 ? dq : 0);
        clock(pins);
    }
    for (const std::string &line : chip.violations()) std::puts(line.c_str());
    return 0;
}
