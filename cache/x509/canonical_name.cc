#include "cache/x509/canonical_name.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/asn1_tags.h"
#include "cache/x509/der_reader.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;
using NamePtr = std::unique_ptr<X509_NAME, OpensslFree<&X509_NAME_free>>;

// What becomes of a byte of a string: of ASCII its lower case, a space of white space. 0x80 and above: not ASCII.
constexpr std::array<std::uint8_t, 256> kLower = [] {
  std::array<std::uint8_t, 256> lower{};
  for (unsigned c = 0; c < lower.size(); ++c) {
    const bool capital = c >= 'A' && c <= 'Z';
    const bool white = c == ' ' || (c >= '\t' && c <= '\r');
    lower[c] = static_cast<std::uint8_t>(white ? ' ' : capital ? c - 'A' + 'a' : c);
  }
  return lower;
}();

bool is_white(std::uint8_t c) {
  return kLower[c] == ' ';
}

Bytes trimmed(Bytes text) {
  while (!text.empty() && is_white(text.front())) text = text.subspan(1);
  while (!text.empty() && is_white(text.back())) text = text.first(text.size() - 1);
  return text;
}

// Appends UTF-8 as it is compared. As OpenSSL does: other letters than ASCII's keep their case.
void append_text(Bytes text, std::string& out) {
  bool white = false;
  for (const std::uint8_t c : trimmed(text)) {
    const std::uint8_t lower = kLower[c];
    if (lower == ' ' && white) continue;
    white = lower == ' ';
    out += static_cast<char>(lower);
  }
}

void append_header(std::uint8_t tag, std::size_t length, std::string& out) {
  out += static_cast<char>(tag);
  if (length < 0x80) {
    out += static_cast<char>(length);
    return;
  }
  std::string digits;
  for (; length > 0; length >>= 8) digits.insert(digits.begin(), static_cast<char>(length & 0xff));
  out += static_cast<char>(0x80 | digits.size());
  out += digits;
}

// Whether OpenSSL takes it for an object identifier: X.690, section 8.19.2.
bool is_object(Bytes object) {
  if (object.empty() || object.back() >= 0x80) return false;
  bool first = true;
  for (const std::uint8_t octet : object) {
    if (first && octet == 0x80) return false;
    first = octet < 0x80;
  }
  return true;
}

bool is_ascii(Bytes text) {
  return std::all_of(text.begin(), text.end(), [](std::uint8_t c) { return c < 0x80; });
}

// Nearly every name: one attribute at a time, short, and its value in ASCII. False: OpenSSL's to read; `out` may hold a
// part.
bool read_simple_name(Bytes der, std::string& out) {
  DerReader whole(der);
  DerReader names(whole.take(asn1::kSequence));
  if (!whole.whole()) return false;
  while (!names.empty()) {
    DerReader set(names.take(asn1::kSet));
    DerReader attribute(set.take(asn1::kSequence));
    const Bytes object = attribute.take(asn1::kObject);
    const bool text = attribute.next_is(asn1::kUtf8String) || attribute.next_is(asn1::kPrintableString) ||
                      attribute.next_is(asn1::kIa5String) || attribute.next_is(asn1::kT61String);
    if (!text || !is_object(object)) return false;
    const Bytes value = attribute.take(attribute.tag());
    if (!attribute.whole() || !set.whole()) return false;
    // Each length of it is then one byte, which is put in when it is known.
    if (object.size() + value.size() > 0x7f - 6 || !is_ascii(value)) return false;
    const std::size_t at = out.size();
    out.append({static_cast<char>(asn1::kSet), 0, static_cast<char>(asn1::kSequence), 0,
                static_cast<char>(asn1::kObject), static_cast<char>(object.size())});
    out.append(reinterpret_cast<const char*>(object.data()), object.size());
    out.append({static_cast<char>(asn1::kUtf8String), 0});
    const std::size_t text_at = out.size();
    append_text(value, out);
    out[at + 1] = static_cast<char>(out.size() - at - 2);
    out[at + 3] = static_cast<char>(out.size() - at - 4);
    out[text_at - 1] = static_cast<char>(out.size() - text_at);
  }
  return names.whole();
}

// X509_NAME_cmp(3) compares these as UTF-8; any other value as it stands.
bool is_compared_as_text(int type) {
  switch (type) {
    case V_ASN1_UTF8STRING:
    case V_ASN1_BMPSTRING:
    case V_ASN1_UNIVERSALSTRING:
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_T61STRING:
    case V_ASN1_IA5STRING:
    case V_ASN1_VISIBLESTRING: return true;
    default: return false;
  }
}

// False: no such string, which OpenSSL refuses when it reads a name.
bool append_value(const ASN1_STRING* value, std::string& out) {
  unsigned char* bytes = nullptr;
  const bool text = is_compared_as_text(ASN1_STRING_type(value));
  const int length = text ? ASN1_STRING_to_UTF8(&bytes, value) : i2d_ASN1_PRINTABLE(value, &bytes);
  if (length < 0) return false;
  const Bytes read(bytes, static_cast<std::size_t>(length));
  if (text) {
    std::string compared;
    append_text(read, compared);
    append_header(asn1::kUtf8String, compared.size(), out);
    out += compared;
  } else {
    out.append(reinterpret_cast<const char*>(bytes), read.size());
  }
  OPENSSL_free(bytes);
  return true;
}

bool append_attribute(const X509_NAME_ENTRY* entry, std::string& out) {
  const ASN1_OBJECT* object = X509_NAME_ENTRY_get_object(entry);
  std::string content;
  append_header(asn1::kObject, OBJ_length(object), content);
  content.append(reinterpret_cast<const char*>(OBJ_get0_data(object)), OBJ_length(object));
  if (!append_value(X509_NAME_ENTRY_get_data(entry), content)) return false;
  append_header(asn1::kSequence, content.size(), out);
  out += content;
  return true;
}

// Of a set, which DER sorts (X.690, section 11.6).
void append_set(std::vector<std::string>& attributes, std::string& out) {
  std::sort(attributes.begin(), attributes.end());
  std::size_t length = 0;
  for (const std::string& each : attributes) length += each.size();
  append_header(asn1::kSet, length, out);
  for (const std::string& each : attributes) out += each;
  attributes.clear();
}

bool read_name(const X509_NAME* name, std::string& out) {
  std::vector<std::string> attributes;
  const int count = X509_NAME_entry_count(name);
  for (int i = 0; i < count; ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(name, i);
    std::string attribute;
    if (!append_attribute(entry, attribute)) return false;
    attributes.push_back(std::move(attribute));
    const bool last = i + 1 == count;
    if (last || X509_NAME_ENTRY_set(X509_NAME_get_entry(name, i + 1)) != X509_NAME_ENTRY_set(entry)) {
      append_set(attributes, out);
    }
  }
  return true;
}

}  // namespace

std::optional<std::string> canonical_name(Bytes der) {
  std::string name;
  name.reserve(der.size());
  if (read_simple_name(der, name)) return name;
  name.clear();
  const unsigned char* at = der.data();
  const NamePtr read(d2i_X509_NAME(nullptr, &at, static_cast<long>(der.size())));
  const bool whole = read && at == der.data() + der.size() && read_name(read.get(), name);
  ERR_clear_error();
  return whole ? std::optional(std::move(name)) : std::nullopt;
}

std::string canonical_name_of(const X509_NAME* name) {
  const unsigned char* der = nullptr;
  std::size_t length = 0;
  const bool encoded = X509_NAME_get0_der(name, &der, &length) == 1;
  std::string out;
  out.reserve(length);
  if (encoded && read_simple_name({der, length}, out)) return out;
  out.clear();
  if (read_name(name, out)) return out;
  // A name put together from what is no string, and not read: its bytes, which no canonical form begins as.
  ERR_clear_error();
  return {reinterpret_cast<const char*>(der), length};
}

}  // namespace sallyport
