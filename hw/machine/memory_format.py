"""Gives the geometry of the decode table and of a scale in memory.

Software that writes memory images and circuits that read them share these sizes."""

CODES = 16          # codes of one table row
SELECTS = 4         # codebooks that the groups of a matrix choose from
STEPS = 4           # slices of a digit, at most
TABLE_ROWS = 2 * SELECTS * STEPS


def entry_bits(config):
    """Bits of an entry in memory: those of the element, more where a beat is wider than a row of
    these."""
    return max(config.element.entry_bits(config), config.memory_bits // CODES)


def row_bits(config):
    """Bits of one table row in memory."""
    return CODES * entry_bits(config)


def row_index(digit, select, step):
    """Row of the table: digit 0 or 1, codebook, slice of the digit from the top."""
    return (digit * SELECTS + select) * STEPS + step

SELECT_BIT = 9  # place of the codebook's number in a scale's half-word
