// SipHash-2-4 with a 64 or a 128-bit result (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
// and its 128-bit variant). Keyed with a secret of the process, so that nobody outside can construct two
// inputs that meet. OpenSSL's EVP_MAC offers it too, at ten times the cost for inputs of this size.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

namespace sallyport {

class SipHash {
 public:
  struct Pair {
    std::uint64_t low = 0, high = 0;
  };

  SipHash(std::uint64_t k0, std::uint64_t k1) : k0_(k0), k1_(k1) {}

  std::uint64_t hash64(std::span<const std::uint8_t> input) const {
    State s = start(0);
    absorb(s, input);
    s.v2 ^= 0xff;
    rounds(s, 4);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
  }

  Pair hash128(std::span<const std::uint8_t> input) const {
    State s = start(0xee);
    absorb(s, input);
    s.v2 ^= 0xee;
    rounds(s, 4);
    const std::uint64_t low = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    rounds(s, 4);
    return {low, s.v0 ^ s.v1 ^ s.v2 ^ s.v3};
  }

 private:
  struct State {
    std::uint64_t v0, v1, v2, v3;
  };

  State start(std::uint64_t variant) const {
    return {k0_ ^ 0x736f6d6570736575ULL, k1_ ^ 0x646f72616e646f6dULL ^ variant, k0_ ^ 0x6c7967656e657261ULL,
            k1_ ^ 0x7465646279746573ULL};
  }
  static std::uint64_t rotate(std::uint64_t x, int by) { return x << by | x >> (64 - by); }
  static void rounds(State& s, int count) {
    for (int i = 0; i < count; ++i) {
      s.v0 += s.v1;
      s.v2 += s.v3;
      s.v1 = rotate(s.v1, 13) ^ s.v0;
      s.v3 = rotate(s.v3, 16) ^ s.v2;
      s.v0 = rotate(s.v0, 32);
      s.v2 += s.v1;
      s.v0 += s.v3;
      s.v1 = rotate(s.v1, 17) ^ s.v2;
      s.v3 = rotate(s.v3, 21) ^ s.v0;
      s.v2 = rotate(s.v2, 32);
    }
  }
  static void absorb(State& s, std::span<const std::uint8_t> input) {
    const std::uint64_t length = input.size();
    while (input.size() >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, input.data(), 8);
      s.v3 ^= word;
      rounds(s, 2);
      s.v0 ^= word;
      input = input.subspan(8);
    }
    std::uint64_t last = length << 56;
    for (std::size_t i = 0; i < input.size(); ++i) last |= std::uint64_t{input[i]} << (8 * i);
    s.v3 ^= last;
    rounds(s, 2);
    s.v0 ^= last;
  }

  std::uint64_t k0_, k1_;
};

}  // namespace sallyport
