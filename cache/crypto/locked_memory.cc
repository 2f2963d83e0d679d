#include "cache/crypto/locked_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace sallyport {

namespace {

// Address space is reserved at once, so that one comparison finds whose an address is; memory is taken and locked by
// the step. A key with all that OpenSSL keeps beside it takes 2 to 20 KiB.
constexpr std::size_t kReserved = std::size_t{64} << 20;
constexpr std::size_t kStep = std::size_t{64} << 10;
// What is larger is no key: a file's text, a table of names. It is wiped on the heap.
constexpr std::size_t kLargest = std::size_t{16} << 10;
constexpr std::size_t kSmallest = 32;
constexpr std::size_t kClasses = 10;  // 32 bytes to 16 KiB, by powers of two
static_assert(kSmallest << (kClasses - 1) == kLargest);

constinit thread_local unsigned scopes = 0;
constinit std::uintptr_t base = 0;  // of what is reserved; before any thread

bool in_arena(const void* at) {
  return reinterpret_cast<std::uintptr_t>(at) - base < kReserved;
}

std::size_t class_of(std::size_t bytes) {
  return bytes <= kSmallest ? 0 : static_cast<std::size_t>(std::bit_width(bytes - 1)) - 5;
}

// One for the process. A block begins with the number of its class; the address behind that is aligned by 16.
class Arena {
 public:
  bool reserve() {
    void* at = ::mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return false;
    base = reinterpret_cast<std::uintptr_t>(at);
    return true;
  }
  // Null where it is too large, or where there is no more.
  void* take(std::size_t bytes) {
    if (bytes > kLargest) return nullptr;
    const std::size_t which = class_of(bytes);
    const std::lock_guard lock(mutex_);
    Block* block = free_[which];
    if (block != nullptr) {
      free_[which] = block->next;
    } else {
      block = fresh(sizeof(Block) + (kSmallest << which));
      if (block == nullptr) return overflows_.fetch_add(1, std::memory_order_relaxed), nullptr;
      block->which = which;
    }
    block->next = nullptr;
    used_.fetch_add(kSmallest << which, std::memory_order_relaxed);
    return block + 1;
  }
  static std::size_t room(const void* at) { return kSmallest << (static_cast<const Block*>(at) - 1)->which; }
  void give_back(void* at) {
    Block* block = static_cast<Block*>(at) - 1;
    const std::size_t room = kSmallest << block->which;
    OPENSSL_cleanse(at, room);
    const std::lock_guard lock(mutex_);
    block->next = free_[block->which];
    free_[block->which] = block;
    used_.fetch_sub(room, std::memory_order_relaxed);
  }
  KeyMemory::State state() const {
    return {base != 0, not_locked_.load(std::memory_order_relaxed), overflows_.load(std::memory_order_relaxed),
            used_.load(std::memory_order_relaxed)};
  }

 private:
  struct alignas(16) Block {
    std::size_t which = 0;
    Block* next = nullptr;
  };

  // Under the lock.
  Block* fresh(std::size_t bytes) {
    if (taken_ + bytes > open_) {
      if (open_ + kStep > kReserved) return nullptr;
      void* at = reinterpret_cast<void*>(base + open_);
      if (::mprotect(at, kStep, PROT_READ | PROT_WRITE) != 0) return nullptr;
      ::madvise(at, kStep, MADV_DONTDUMP);
      if (::mlock(at, kStep) != 0 && not_locked_.load(std::memory_order_relaxed) == 0) not_locked_ = errno;
      open_ += kStep;
    }
    auto* block = new (reinterpret_cast<void*>(base + taken_)) Block;
    taken_ += bytes;
    return block;
  }

  std::mutex mutex_;
  std::size_t open_ = 0, taken_ = 0;
  std::array<Block*, kClasses> free_{};
  std::atomic<int> not_locked_{0};
  std::atomic<std::size_t> overflows_{0}, used_{0};
};

// Never destroyed: OpenSSL gives memory back after main().
Arena& arena() {
  alignas(Arena) static std::byte place[sizeof(Arena)];
  static Arena* const made = new (place) Arena;
  return *made;
}
Arena* installed = nullptr;

[[gnu::noinline]] void* allocate_for_key(std::size_t bytes) {
  void* at = bytes == 0 ? nullptr : installed->take(bytes);
  return at != nullptr || bytes == 0 ? at : std::malloc(bytes);
}

[[gnu::noinline]] void release_of_key(void* at) {
  if (in_arena(at)) return installed->give_back(at);
  if (at != nullptr) OPENSSL_cleanse(at, ::malloc_usable_size(at));
  std::free(at);
}

// As CRYPTO_malloc() and CRYPTO_realloc() answer by themselves: nothing for no bytes. OpenSSL calls these two some
// thousand times in a handshake, so what is rare is elsewhere.
void* allocate(std::size_t bytes, const char*, int) {
  if (scopes != 0) [[unlikely]]
    return allocate_for_key(bytes);
  return bytes == 0 ? nullptr : std::malloc(bytes);
}

void release(void* at, const char*, int) {
  if (in_arena(at) || scopes != 0) [[unlikely]]
    return release_of_key(at);
  std::free(at);
}

void* reallocate(void* at, std::size_t bytes, const char* file, int line) {
  if (at == nullptr) return allocate(bytes, file, line);
  if (bytes == 0) return release(at, file, line), nullptr;
  const bool ours = in_arena(at);
  if (!ours && scopes == 0) return std::realloc(at, bytes);
  // realloc(3) leaves behind what it moves away from.
  const std::size_t room = ours ? Arena::room(at) : ::malloc_usable_size(at);
  void* moved = allocate(bytes, file, line);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, at, std::min(room, bytes));
  release(at, file, line);
  return moved;
}

}  // namespace

void KeyMemory::install() {
  Arena& made = arena();
  if (installed != nullptr || !made.reserve()) return;
  installed = &made;
  if (CRYPTO_set_mem_functions(&allocate, &reallocate, &release) != 1) installed = nullptr;
}

KeyMemory::KeyMemory() {
  if (installed != nullptr) ++scopes;
}
KeyMemory::~KeyMemory() {
  if (installed != nullptr) --scopes;
}

KeyMemory::State KeyMemory::state() {
  return installed != nullptr ? installed->state() : State{};
}

bool KeyMemory::holds(const void* at) {
  return installed != nullptr && in_arena(at);
}

std::string key_memory_flaw(const KeyMemory::State& state) {
  if (!state.installed) return "OpenSSL keeps private keys on the heap, where they are neither locked nor wiped";
  if (state.not_locked != 0) {
    return std::string("private keys may reach swap: mlock: ") + std::strerror(state.not_locked) +
           ": raise LimitMEMLOCK (ulimit -l)";
  }
  return state.overflows != 0 ? "so many private keys that some lie on the heap, where they may reach swap" : "";
}

}  // namespace sallyport
