#include "cache/registry/registry_records.h"

#include <cstring>

namespace sallyport::records {

namespace {

constexpr std::size_t kDeviceRow = 64;

class Writer {
 public:
  template <class Integer>
  void number(Integer value) {
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
      out_ += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xFF);
    }
  }
  void text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    out_ += value;
  }
  template <class Array>
  void array(const Array& value) {
    out_.append(reinterpret_cast<const char*>(value.data()), value.size());
  }
  void fill(std::size_t size) { out_.resize(size); }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// Reads past the end are remembered, not made.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  template <class Integer>
  Integer number() {
    if (!has(sizeof(Integer))) return {};
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
      value |= std::uint64_t{static_cast<unsigned char>(in_[i])} << (8 * i);
    }
    in_.remove_prefix(sizeof(Integer));
    return static_cast<Integer>(value);
  }
  std::string text() {
    const auto length = number<std::uint32_t>();
    if (!has(length)) return {};
    std::string value(in_.substr(0, length));
    in_.remove_prefix(length);
    return value;
  }
  template <class Array>
  Array array() {
    Array value{};
    if (!has(value.size())) return value;
    std::memcpy(value.data(), in_.data(), value.size());
    in_.remove_prefix(value.size());
    return value;
  }
  bool good() const { return good_; }
  bool at_end() const { return in_.empty(); }
  bool has(std::size_t n) { return good_ = good_ && in_.size() >= n; }

 private:
  std::string_view in_;
  bool good_ = true;
};

}  // namespace

std::string encode(const DeviceRow& row) {
  Writer out;
  out.number(static_cast<std::uint8_t>(row.status));
  out.number(static_cast<std::uint8_t>(row.registered_by));
  // Two halves, in what versions before it left 0: they read the day with the higher half above it, and write 0.
  out.number(static_cast<std::uint16_t>(row.epoch & 0xFFFF));
  out.number(row.seen_day);
  out.number(static_cast<std::uint16_t>(row.epoch >> 16));
  out.number(row.chain);
  out.number(row.not_before);
  out.number(row.not_after);
  out.number(row.registered_at);
  out.array(row.name);
  out.fill(kDeviceRow);
  return out.take();
}

bool decode(std::string_view bytes, DeviceRow& row) {
  Reader in(bytes);
  const auto status = in.number<std::uint8_t>();
  const auto by = in.number<std::uint8_t>();
  const auto epoch_low = in.number<std::uint16_t>();
  row.status = static_cast<DeviceStatus>(status);
  row.registered_by = static_cast<RegisteredBy>(by);
  row.seen_day = in.number<std::uint16_t>();
  row.epoch = std::uint32_t{in.number<std::uint16_t>()} << 16 | epoch_low;
  row.chain = in.number<std::uint64_t>();
  row.not_before = in.number<std::int64_t>();
  row.not_after = in.number<std::int64_t>();
  row.registered_at = in.number<std::int64_t>();
  row.name = in.array<IssuerSerial>();
  return in.good() && bytes.size() == kDeviceRow && status >= 1 && status <= 4 && by >= 1 && by <= 3;
}

std::string encode(const DeviceText& text) {
  Writer out;
  for (const std::string* part : {&text.serial, &text.subject, &text.cn, &text.key_type, &text.der}) out.text(*part);
  return out.take();
}

bool decode(std::string_view bytes, DeviceText& text) {
  Reader in(bytes);
  for (std::string* part : {&text.serial, &text.subject, &text.cn, &text.key_type, &text.der}) *part = in.text();
  return in.good();
}

std::string encode(const CaRow& row) {
  Writer out;
  out.number(static_cast<std::uint8_t>(row.status));
  out.number(
      static_cast<std::uint8_t>((row.auto_register ? 1 : 0) | (row.approve ? 2 : 0) | (row.from_config ? 4 : 0)));
  out.number(row.registered_at);
  out.text(row.der);
  return out.take();
}

bool decode(std::string_view bytes, CaRow& row) {
  Reader in(bytes);
  const auto status = in.number<std::uint8_t>();
  const auto flags = in.number<std::uint8_t>();
  row.status = static_cast<CaStatus>(status);
  row.auto_register = (flags & 1) != 0;
  row.approve = (flags & 2) != 0;
  row.from_config = (flags & 4) != 0;
  row.registered_at = in.number<std::int64_t>();
  row.der = in.text();
  return in.good() && (status == 1 || status == 2);
}

std::string encode(const ChainRow& row) {
  Writer out;
  out.number(static_cast<std::uint32_t>(row.cas.size()));
  for (const Digest& id : row.cas) out.array(id);
  out.number(static_cast<std::uint32_t>(row.intermediates.size()));
  for (const std::string& der : row.intermediates) out.text(der);
  out.array(row.issuing_key);
  out.number(static_cast<std::uint8_t>((row.crl ? 1 : 0) | (row.forgotten ? 2 : 0)));
  return out.take();
}

bool decode(std::string_view bytes, ChainRow& row) {
  Reader in(bytes);
  row = {};
  for (auto n = in.number<std::uint32_t>(); n > 0 && in.good(); --n) row.cas.push_back(in.array<Digest>());
  for (auto n = in.number<std::uint32_t>(); n > 0 && in.good(); --n) row.intermediates.push_back(in.text());
  if (in.at_end()) return in.good() && !row.cas.empty();  // written by schema 1
  row.issuing_key = in.array<Digest>();
  const auto flags = in.number<std::uint8_t>();
  row.crl = (flags & 1) != 0;
  row.forgotten = (flags & 2) != 0;
  return in.good() && !row.cas.empty();
}

std::string encode(const CodeRow& row) {
  Writer out;
  out.array(row.hash);
  out.number(row.expires_at);
  out.number(static_cast<std::uint8_t>(row.used ? 1 : 0));
  return out.take();
}

bool decode(std::string_view bytes, CodeRow& row) {
  Reader in(bytes);
  row.hash = in.array<Digest>();
  row.expires_at = in.number<std::int64_t>();
  row.used = in.number<std::uint8_t>() != 0;
  return in.good();
}

std::string encode(const MetaRow& row) {
  Writer out;
  out.number(row.revision);
  out.number(row.next_chain);
  return out.take();
}

bool decode(std::string_view bytes, MetaRow& row) {
  Reader in(bytes);
  row.revision = in.number<std::uint64_t>();
  row.next_chain = in.number<std::uint64_t>();
  return in.good();
}

std::string encode(const ServerCertRow& row) {
  Writer out;
  out.text(row.chain_pem);
  out.text(row.sealed_key);
  out.number(row.added_at);
  return out.take();
}

bool decode(std::string_view bytes, ServerCertRow& row) {
  Reader in(bytes);
  row.chain_pem = in.text();
  row.sealed_key = in.text();
  row.added_at = in.number<std::int64_t>();
  return in.good();
}

std::string encode(const OverrideRow& row) {
  Writer out;
  out.number(static_cast<std::uint8_t>((row.auth ? 1 : 0) | (row.certificate ? 2 : 0)));
  out.number(row.auth.value_or(0));
  out.array(row.certificate.value_or(Digest{}));
  return out.take();
}

bool decode(std::string_view bytes, OverrideRow& row) {
  Reader in(bytes);
  const auto present = in.number<std::uint8_t>();
  const auto auth = in.number<std::uint8_t>();
  const auto certificate = in.array<Digest>();
  row = {};
  if ((present & 1) != 0) row.auth = auth;
  if ((present & 2) != 0) row.certificate = certificate;
  return in.good() && present <= 3 && ((present & 1) == 0 || auth <= 1);  // AuthMode: what is unknown is not one-way
}

std::string encode(const TokenRow& row) {
  Writer out;
  out.array(row.hash);
  out.number(static_cast<std::uint8_t>(row.operates ? 1 : 0));
  out.number(row.created_at);
  out.number(row.expires_at);
  return out.take();
}

bool decode(std::string_view bytes, TokenRow& row) {
  Reader in(bytes);
  row.hash = in.array<Digest>();
  row.operates = in.number<std::uint8_t>() == 1;
  row.created_at = in.number<std::int64_t>();
  row.expires_at = in.number<std::int64_t>();
  return in.good();
}

std::string encode(const CrlRow& row) {
  Writer out;
  out.text(row.number);
  out.number(row.this_update);
  out.number(row.next_update);
  out.number(row.entries);
  out.number(row.imported_at);
  out.array(row.ca);
  out.text(row.scope);
  return out.take();
}

bool decode(std::string_view bytes, CrlRow& row) {
  Reader in(bytes);
  row = {};
  row.number = in.text();
  row.this_update = in.number<std::int64_t>();
  if (in.at_end()) return in.good();  // written by schema 2
  row.next_update = in.number<std::int64_t>();
  row.entries = in.number<std::uint64_t>();
  row.imported_at = in.number<std::int64_t>();
  row.ca = in.array<Digest>();
  row.scope = in.text();
  return in.good();
}

std::string encode(const AuditRecord& record) {
  Writer out;
  out.number(record.at_us);
  out.number(record.revision);
  for (const std::string* part :
       {&record.by.who, &record.by.from, &record.action, &record.target, &record.before, &record.after}) {
    out.text(*part);
  }
  return out.take();
}

bool decode(std::string_view bytes, AuditRecord& record) {
  Reader in(bytes);
  record.at_us = in.number<std::int64_t>();
  record.revision = in.number<std::uint64_t>();
  for (std::string* part :
       {&record.by.who, &record.by.from, &record.action, &record.target, &record.before, &record.after}) {
    *part = in.text();
  }
  return in.good();
}

}  // namespace sallyport::records
