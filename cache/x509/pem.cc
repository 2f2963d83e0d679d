#include "cache/x509/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <memory>

#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/read_help.h"

namespace sallyport {

namespace {

using TextPtr = std::unique_ptr<char, decltype([](char* text) { OPENSSL_free(text); })>;

std::string_view noun(PemKind kind) {
  return kind == PemKind::Crl ? "CRL" : "certificate";
}

// OpenSSL's older name is still in old files.
bool is_of_kind(std::string_view label, PemKind kind) {
  if (kind == PemKind::Crl) return label == PEM_STRING_X509_CRL;
  return label == PEM_STRING_X509 || label == PEM_STRING_X509_OLD;
}

bool may_lie_beside(std::string_view label, PemKind kind) {
  return kind == PemKind::Certificate && (label.ends_with("PRIVATE KEY") || label.ends_with(" PARAMETERS"));
}

std::size_t count_of(std::string_view what, std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

}  // namespace

Answer<std::vector<std::string>> pem_objects(std::string_view text, PemKind kind, std::size_t most) {
  const std::string what(noun(kind));
  const BioPtr bio(text.size() > INT32_MAX ? nullptr : BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!bio) return no("it is larger than 2 GiB");
  // With a slip of the hand in a line, OpenSSL takes an object for text: its other line is still there.
  const std::size_t begun = std::max(count_of("-----BEGIN", text), count_of("-----END", text));
  std::vector<std::string> all;
  for (std::size_t read = 0; read < begun; ++read) {
    char* name = nullptr;
    char* header = nullptr;
    unsigned char* bytes = nullptr;
    long length = 0;
    const bool whole = PEM_read_bio(bio.get(), &name, &header, &bytes, &length) == 1;
    const TextPtr label(name), headers(header);
    std::string der(reinterpret_cast<char*>(bytes), whole ? static_cast<std::size_t>(length) : 0);
    OPENSSL_clear_free(bytes, whole ? static_cast<std::size_t>(length) : 0);  // it may have been a key
    if (!whole) {
      return no("object " + std::to_string(read + 1) + " of " + std::to_string(begun) +
                " in it is damaged or cut off: nothing of it was taken");
    }
    if (is_of_kind(label.get(), kind)) {
      if (all.size() == most) return no("there are more than " + std::to_string(most) + " " + what + "s in it");
      all.push_back(std::move(der));
      continue;
    }
    OPENSSL_cleanse(der.data(), der.size());
    if (!may_lie_beside(label.get(), kind)) {
      return no("object " + std::to_string(read + 1) + " of " + std::to_string(begun) + " in it is no " + what +
                " but '" + std::string(label.get()).substr(0, 60) + "': nothing of it was taken");
    }
  }
  if (all.empty()) {
    return no("there is no PEM " + what + " in it (-----BEGIN " +
              (kind == PemKind::Crl ? PEM_STRING_X509_CRL : PEM_STRING_X509) + "-----)");
  }
  ERR_clear_error();
  return all;
}

}  // namespace sallyport
