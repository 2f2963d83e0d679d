// Lists of devices, for any thread: from the store, by an index where one fits. Nothing here waits for the registrar's
// thread. What one call looks at is bounded, so that a page out of a million is answered within a tenth of a second,
// whatever is asked for: a page that is short says where to go on.
#include <fnmatch.h>

#include <algorithm>
#include <cctype>

#include "cache/registry/registrar_impl.h"

namespace sallyport {

namespace {

// In units of about a microsecond (tests/cache/registry/device_list_test.cc counts them, bench/registry_scale the
// time): a row that is read in order, one that an index leads to, and the texts of it likewise.
constexpr std::size_t kMostWork = 40'000;
constexpr std::size_t kRow = 1, kRowByIndex = 5, kTextInOrder = 3, kText = 8;

bool same_letter(unsigned char a, unsigned char b) {
  return std::tolower(a) == std::tolower(b);
}

bool contains(std::string_view text, std::string_view part) {
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same_letter) != text.end();
}

// One page in the making. `Inside`: Registrar::Impl, whose name is private.
template <class Inside>
class Listing {
 public:
  Listing(const DeviceQuery& query, const Inside& registrar, DevicePage& page)
      : query_(query), registrar_(registrar), page_(page) {}

  // Each answers false where the page ends here. `at`: where to go on behind this one.
  bool take(const Digest& id, const DeviceRow& row, const DeviceText* text, std::size_t cost, std::string_view at);
  bool take_by_index(const Digest& id, std::string_view at);
  const Answer<void>& trouble() const { return trouble_; }

 private:
  bool wanted(const DeviceText& text) const {
    if (!query_.cn_part.empty() && !contains(text.cn, query_.cn_part)) return false;
    return query_.cn_glob.empty() || ::fnmatch(query_.cn_glob.c_str(), text.cn.c_str(), 0) == 0;
  }
  bool by_row(const Digest& id, const DeviceRow& row) const {
    if (registrar_.gone(id, row)) return false;
    if (query_.status && row.status != *query_.status) return false;
    if (query_.expires_before && row.not_after >= *query_.expires_before) return false;
    return !query_.expires_after || row.not_after >= *query_.expires_after;
  }

  bool end_behind(const std::string& at) {
    page_.next_page_token = to_hex({reinterpret_cast<const std::uint8_t*>(at.data()), at.size()});
    return false;
  }

  const DeviceQuery& query_;
  const Inside& registrar_;
  DevicePage& page_;
  Answer<void> trouble_;
  std::size_t work_ = 0;
  std::string last_, last_item_;  // where the one stands that was looked at, and listed, before
};

template <class Inside>
bool Listing<Inside>::take(const Digest& id, const DeviceRow& row, const DeviceText* text, std::size_t cost,
                           std::string_view at) {
  // A filter that nothing passes must not keep one request busy for seconds.
  if (work_ >= kMostWork) return end_behind(last_);
  ++page_.looked_at;
  work_ += cost;
  last_ = at;
  if (!by_row(id, row)) return true;
  Answer<std::optional<DeviceText>> read = std::optional<DeviceText>();
  if (text == nullptr) {
    work_ += kText;
    read = registrar_.store_.device_text(id);
    if (!read) return trouble_ = read.error(), false;
    if (read->has_value()) text = &**read;
  }
  static const DeviceText kNone;
  if (!wanted(text == nullptr ? kNone : *text)) return true;
  DeviceRecord record = registrar_.record_of(id, row, text);
  if (query_.ca && record.ca_id != *query_.ca) return true;
  if (page_.items.size() == query_.limit) return end_behind(last_item_);
  page_.items.push_back(std::move(record));
  last_item_ = at;
  return true;
}

template <class Inside>
bool Listing<Inside>::take_by_index(const Digest& id, std::string_view at) {
  const auto row = registrar_.store_.device(id);
  if (!row) return trouble_ = row.error(), false;
  return !row->has_value() || take(id, **row, nullptr, kRowByIndex, at);
}

}  // namespace

Answer<DevicePage> Registrar::Impl::devices(const DeviceQuery& query) const {
  std::vector<std::uint8_t> token;
  const bool by_prefix = query.serial.empty() && !query.serial_prefix.empty();
  const bool good =
      parse_hex(query.page_token, token) && (token.empty() || by_prefix || token.size() == Digest().size());
  if (!good) return Refusal{Refusal::Kind::Invalid, "the page_token is not one of a list answer"};
  const std::string after(token.begin(), token.end());
  DevicePage page;
  Listing listing(query, *this, page);
  const auto take_id = [&](const Digest& id) {
    return listing.take_by_index(id, {reinterpret_cast<const char*>(id.data()), id.size()});
  };
  const auto take_row = [&](const Digest& id, const DeviceRow& row) {
    return listing.take(id, row, nullptr, kRow, {reinterpret_cast<const char*>(id.data()), id.size()});
  };
  const auto take_all = [&](const Digest& id, const DeviceRow& row, const DeviceText* text) {
    return listing.take(id, row, text, kRow + kTextInOrder, {reinterpret_cast<const char*>(id.data()), id.size()});
  };
  const bool by_cn = !query.cn_part.empty() || !query.cn_glob.empty();
  Answer<void> read;
  if (!query.serial.empty()) {
    read = store_.each_id_of_serial(query.serial, after, take_id);
  } else if (by_prefix) {
    read = store_.each_id_of_serial_prefix(query.serial_prefix, after, [&](const Digest& id, std::string_view key) {
      return listing.take_by_index(id, key);
    });
  } else if (query.ca) {
    read = store_.each_id_of_ca(*query.ca, after, take_id);
  } else if (by_cn) {
    read = store_.each_device_with_text(after, take_all);
  } else {
    read = store_.each_device("", after, take_row);
  }
  if (!read) return read.error();
  if (!listing.trouble()) return listing.trouble().error();
  return page;
}

}  // namespace sallyport
