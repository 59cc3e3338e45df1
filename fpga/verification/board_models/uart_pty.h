// A serial port for a simulated board: the host sees a pseudo-terminal, the board two pins.
//
// Call step() once per clock with the board's transmit pin; it returns the board's receive pin.
// One bit is a whole number of clocks. Nothing blocks: the descriptor is looked at once in
// POLL clocks while the line to the board is idle, and at the end of what was read else.
// What the host does not fetch is kept up to KEEP bytes; then the oldest is lost.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <termios.h>
#include <unistd.h>

class UartPty {
public:
    static constexpr unsigned POLL = 1000;
    static constexpr size_t KEEP = 1 << 16;

    explicit UartPty(unsigned clocks_per_bit) : bit_(clocks_per_bit) {
        fd_ = posix_openpt(O_RDWR | O_NOCTTY);
        if (fd_ < 0 || grantpt(fd_) || unlockpt(fd_)) fail("cannot open a pseudo-terminal");
        char name[128];
        if (ptsname_r(fd_, name, sizeof name)) fail("cannot name the pseudo-terminal");
        path_ = name;
        // Held open, so that the port outlives each host that opens and closes it.
        host_ = ::open(name, O_RDWR | O_NOCTTY);
        termios settings;
        if (host_ < 0 || tcgetattr(host_, &settings)) fail("cannot open the pseudo-terminal");
        cfmakeraw(&settings);
        tcsetattr(host_, TCSANOW, &settings);
        fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
    }
    ~UartPty() { ::close(fd_); ::close(host_); }
    UartPty(const UartPty &) = delete;
    UartPty &operator=(const UartPty &) = delete;

    // What the host opens.
    const std::string &path() const { return path_; }

    // The receive pin stays low for so many bits.
    void send_break(unsigned bits) { break_ = uint64_t(bits) * bit_; }

    // Nothing to send, and nothing coming in.
    bool idle() const { return !send_left_ && next_ == got_ && !receive_left_ && out_.empty(); }

    // Sleep until the host sends, at most so many milliseconds. For benches in which nothing else
    // happens.
    void wait(int milliseconds) {
        pollfd request{fd_, POLLIN, 0};
        ::poll(&request, 1, milliseconds);
        countdown_ = 0;
    }

    bool step(bool tx) {
        receive(tx);
        bool rx = send();
        if (break_) { --break_; rx = false; }
        if (!countdown_) { exchange(); countdown_ = POLL; }
        --countdown_;
        return rx;
    }

private:
    void receive(bool tx) {
        if (!receive_left_) {
            if (tx) return;
            receive_left_ = 10;
            receive_clock_ = bit_ / 2 + 1;
        }
        if (--receive_clock_) return;
        receive_clock_ = bit_;
        --receive_left_;
        if (receive_left_ == 9) { if (tx) receive_left_ = 0; }      // a glitch, not a start bit
        else if (receive_left_) received_ = uint8_t(received_ >> 1 | (tx ? 0x80 : 0));
        else if (tx) out_ += char(received_);
    }

    bool send() {
        if (!send_left_) {
            if (next_ == got_) return true;
            shift_ = 0x200u | unsigned(in_[next_++]) << 1;          // start, data, stop
            send_left_ = 10;
            send_clock_ = bit_;
            if (next_ == got_) countdown_ = 0;
        }
        bool level = shift_ & 1;
        if (!--send_clock_) {
            send_clock_ = bit_;
            shift_ >>= 1;
            --send_left_;
        }
        return level;
    }

    void exchange() {
        if (!out_.empty()) {
            ssize_t sent = ::write(fd_, out_.data(), out_.size());
            if (sent > 0) out_.erase(0, size_t(sent));
            if (out_.size() > KEEP) out_.erase(0, out_.size() - KEEP);
        }
        if (next_ != got_) return;
        ssize_t got = ::read(fd_, in_, sizeof in_);
        next_ = 0;
        got_ = got > 0 ? size_t(got) : 0;
    }

    [[noreturn]] static void fail(const char *what) {
        std::fprintf(stderr, "simulator: %s\n", what);
        std::exit(3);
    }

    unsigned bit_;
    int fd_ = -1, host_ = -1;
    std::string path_, out_;
    uint8_t in_[4096];
    size_t next_ = 0, got_ = 0;
    unsigned countdown_ = 0;
    uint64_t break_ = 0;
    unsigned send_left_ = 0, send_clock_ = 0, shift_ = 0;
    unsigned receive_left_ = 0, receive_clock_ = 0;
    uint8_t received_ = 0;
};
