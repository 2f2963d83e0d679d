// How rows are laid out as bytes on disk: little-endian integers, length-prefixed text. Reading checks
// every length; a row that does not parse is corruption, and said so.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cache/registry/registry_store.h"

namespace sallyport::records {

std::string encode(const DeviceRow& row);  // 64 bytes
std::string encode(const DeviceText& text);
std::string encode(const CaRow& row);
std::string encode(const ChainRow& row);
std::string encode(const CodeRow& row);
std::string encode(const MetaRow& row);
std::string encode(const ServerCertRow& row);
std::string encode(const OverrideRow& row);
std::string encode(const TokenRow& row);
std::string encode(const CrlRow& row);
std::string encode(const AuditRecord& record);

bool decode(std::string_view bytes, DeviceRow& row);
bool decode(std::string_view bytes, DeviceText& text);
bool decode(std::string_view bytes, CaRow& row);
bool decode(std::string_view bytes, ChainRow& row);
bool decode(std::string_view bytes, CodeRow& row);
bool decode(std::string_view bytes, MetaRow& row);
bool decode(std::string_view bytes, ServerCertRow& row);
bool decode(std::string_view bytes, OverrideRow& row);
bool decode(std::string_view bytes, TokenRow& row);
bool decode(std::string_view bytes, CrlRow& row);
bool decode(std::string_view bytes, AuditRecord& record);

}  // namespace sallyport::records
