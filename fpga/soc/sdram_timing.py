"""Times of a single-data-rate SDRAM, and what they are in clock cycles."""

from dataclasses import dataclass
from math import ceil

__all__ = ["COMMON", "SdramCycles", "SdramTiming"]

LEAST_MHZ, MOST_MHZ = 20, 133
MOST_REGISTERS = 4      # between the pins and the controller


@dataclass(frozen=True, kw_only=True)
class SdramCycles:
    """The same rules in cycles of one clock; ``power_up`` is in refresh intervals."""
    cas: int
    rcd: int
    rp: int
    ras: int
    rfc: int
    mrd: int
    wr: int
    interval: int
    power_up: int

    def delay(self, cycles: int | None) -> int:
        """Read delay of ``cycles``, the CAS latency by default; ``ValueError`` if it cannot be."""
        if cycles is None:
            return self.cas
        if not self.cas <= cycles <= self.cas + MOST_REGISTERS:
            raise ValueError(f"read_delay must be {self.cas}…{self.cas + MOST_REGISTERS} with CAS "
                             f"latency {self.cas}, not {cycles!r}")
        return cycles


@dataclass(frozen=True, kw_only=True)
class SdramTiming:
    """Rules of a chip of 4 banks x 8192 rows x 512 columns x 16 bits.

    Times are in nanoseconds, ``power_up_us`` and ``refresh_ms`` (of all rows) as their names say,
    ``wr`` and ``mrd`` in clock cycles.
    """
    rcd: float = 20
    rp: float = 20
    ras: float = 48
    rc: float = 70
    rfc: float = 70
    wr: int = 2
    mrd: int = 2
    cas2_mhz: float = 100       # the fastest clock of CAS latency 2; 3 above it
    power_up_us: float = 200
    refresh_ms: float = 64
    rows: int = 8192

    def cycles(self, clock_mhz: float) -> SdramCycles:
        """Rounded to the safe side: minimum times up, the refresh interval down."""
        if not LEAST_MHZ <= clock_mhz <= MOST_MHZ:
            raise ValueError(f"the SDRAM clock must be within {LEAST_MHZ}…{MOST_MHZ} MHz, "
                             f"not {clock_mhz!r}")

        def least(nanoseconds: float) -> int:
            return max(1, ceil(round(nanoseconds * clock_mhz / 1000, 6)))

        rp = least(self.rp)
        interval = int(self.refresh_ms * 1000 * clock_mhz / self.rows)
        return SdramCycles(
            cas=2 if clock_mhz <= self.cas2_mhz else 3, rcd=least(self.rcd), rp=rp,
            ras=max(least(self.ras), least(self.rc) - rp), rfc=least(self.rfc), mrd=self.mrd,
            wr=self.wr, interval=interval,
            power_up=ceil(self.power_up_us * clock_mhz / interval))


COMMON = SdramTiming()      # holds for each of IS42S16160G-7, W9825G6KH-6 and AS4C16M16SA-7
