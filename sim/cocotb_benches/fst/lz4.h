// What Verilator's FST writer needs of LZ4, for machines without its development files: the block
// format, compressed greedily. Standard readers read what it writes.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

namespace lz4 {

inline uint32_t word(const uint8_t *at) {
    uint32_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// Length beyond the 15 that a token holds: bytes of 255, then the rest.
inline void extend(uint8_t *&out, int length) {
    for (length -= 15; length >= 255; length -= 255) *out++ = 255;
    *out++ = uint8_t(length);
}

inline void sequence(uint8_t *&out, const uint8_t *literals, int count, int offset, int match) {
    int extra = match - 4;  // a match has at least 4 bytes; none in the last sequence
    uint8_t *token = out++;
    *token = uint8_t((count < 15 ? count : 15) << 4);
    if (count >= 15) extend(out, count);
    if (count) std::memcpy(out, literals, count);
    out += count;
    if (!match) return;
    *token |= uint8_t(extra < 15 ? extra : 15);
    *out++ = uint8_t(offset);
    *out++ = uint8_t(offset >> 8);
    if (extra >= 15) extend(out, extra);
}

}  // namespace lz4

// Bytes written to ``target``, which must hold LZ4_compressBound(size); 0 if it does not.
inline int LZ4_compress_default(const char *source, char *target, int size, int capacity) {
    if (capacity < LZ4_compressBound(size)) return 0;
    const uint8_t *data = reinterpret_cast<const uint8_t *>(source);
    uint8_t *out = reinterpret_cast<uint8_t *>(target);
    std::vector<int> latest(4096, -1);
    int at = 0, done = 0;
    while (at < size - 12) {  // the last match starts at least 12 bytes before the end
        int &seen = latest[lz4::word(data + at) * 2654435761u >> 20];
        int candidate = seen;
        seen = at;
        if (candidate < 0 || at - candidate > 65535
            || lz4::word(data + candidate) != lz4::word(data + at)) {
            ++at;
            continue;
        }
        int match = 4;
        while (at + match < size - 5 && data[candidate + match] == data[at + match]) ++match;
        lz4::sequence(out, data + done, at - done, at - candidate, match);
        at += match;
        done = at;
    }
    lz4::sequence(out, data + done, size - done, 0, 0);
    return int(out - reinterpret_cast<uint8_t *>(target));
}
