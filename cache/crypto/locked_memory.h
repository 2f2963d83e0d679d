// Where private keys live: memory that is locked (never in swap), left out of core files (MADV_DONTDUMP), and wiped
// when it is given back. OpenSSL asks us for all its memory (CRYPTO_set_mem_functions(3)); while a KeyMemory exists on
// a thread, what OpenSSL asks for there comes from here, and whatever it gives back there is wiped, wherever it was:
// PEM and DER that a key was read from, the parameters it was handed over in. What was made meanwhile stays here until
// OpenSSL gives it back, from any thread. Elsewhere OpenSSL gets the heap, as ever, for a comparison of two addresses.
// OpenSSL's own secure heap (OPENSSL_secure_malloc(3)) is not used: every key exchange would take its one lock, and
// where it is full, handshakes fail. Where ours is full, keys lie on the heap.
#pragma once

#include <cstddef>
#include <string>

namespace sallyport {

class KeyMemory {
 public:
  // Before OpenSSL has asked for its first memory; the first line of main(). Afterwards, and where the system has no
  // room for it, it does nothing, and state() says so.
  static void install();

  KeyMemory();
  ~KeyMemory();
  KeyMemory(const KeyMemory&) = delete;
  KeyMemory& operator=(const KeyMemory&) = delete;

  // Any thread.
  struct State {
    bool installed = false;
    int not_locked = 0;         // errno of the first page that could not be locked; 0: all are
    std::size_t overflows = 0;  // how often a key did not fit
    std::size_t used = 0;       // bytes now
  };
  static State state();
  static bool holds(const void* at);  // an address in it
};

// What is wrong with it, in words that a log line has room for; empty where nothing is.
std::string key_memory_flaw(const KeyMemory::State& state);

}  // namespace sallyport
