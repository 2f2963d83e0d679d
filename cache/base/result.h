// Result<T>: a value or the reason there is none. Must be looked at; no exception, no macro that hides
// a return: `if (auto r = f(); !r) return r.error();`. The names are std::expected's (C++23), so that a
// later swap is one `using`.
//
// Two kinds of error travel in it. Error is what the data path says: small, without allocation.
// Refusal is what an operator is told: a sentence that says why and what to do.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "cache/base/check.h"
#include "cache/base/reason.h"

namespace sallyport {

// On whose side the cause lies.
enum class Origin : std::uint8_t { Client, Broker, Proxy };

constexpr std::string_view to_string(Origin origin) {
  switch (origin) {
    case Origin::Client: return "client";
    case Origin::Broker: return "broker";
    case Origin::Proxy: return "proxy";
  }
  return "proxy";
}

struct [[nodiscard]] Error {
  Origin origin = Origin::Proxy;
  Reason reason = Reason::InternalError;
  int detail = 0;         // errno, an OpenSSL X509_V_ERR_* or reason code; 0 when there is none
  std::string_view what;  // static storage: one short clause for the log
};

struct [[nodiscard]] Refusal {
  enum class Kind : std::uint8_t {
    Invalid,      // the input is wrong: HTTP 400, exit 1 (2 for configuration)
    NotFound,     // 404
    Conflict,     // a rule refuses it in the present state: 409
    Unavailable,  // the disk, the kernel or a peer refused: 503
  };
  Kind kind = Kind::Invalid;
  std::string what;  // one line: why, and what to do
};

template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() & {
    CHECK(state_.index() == 0);
    return *std::get_if<0>(&state_);
  }
  const T& operator*() const& {
    CHECK(state_.index() == 0);
    return *std::get_if<0>(&state_);
  }
  T&& operator*() && {
    CHECK(state_.index() == 0);
    return std::move(*std::get_if<0>(&state_));
  }
  T* operator->() { return &**this; }
  const T* operator->() const { return &**this; }
  const E& error() const {
    CHECK(state_.index() == 1);
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, E> state_;
};

template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  Result() = default;
  Result(E error) : failed_(true), error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return !failed_; }
  const E& error() const {
    CHECK(failed_);
    return error_;
  }

 private:
  bool failed_ = false;
  E error_{};
};

// What operators' calls return.
template <class T>
using Answer = Result<T, Refusal>;

}  // namespace sallyport
