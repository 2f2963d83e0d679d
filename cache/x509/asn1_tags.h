// Tags of ASN.1 as DER writes them: X.680, section 8.4, with the constructed bit of X.690, section 8.1.2.5, where a
// type has it.
#pragma once

#include <cstdint>

namespace sallyport::asn1 {

inline constexpr std::uint8_t kBoolean = 0x01, kInteger = 0x02, kBitString = 0x03, kOctetString = 0x04, kObject = 0x06,
                              kUtf8String = 0x0c, kPrintableString = 0x13, kT61String = 0x14, kIa5String = 0x16,
                              kUtcTime = 0x17, kGeneralizedTime = 0x18, kSequence = 0x30, kSet = 0x31;

}  // namespace sallyport::asn1
