// A ClientHello that was changed in one way: what the tests of which hellos are ours are given one by one.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/proxy/tls/peer_parts.h"

namespace sallyport::test {

struct Case {
  const char* name;
  std::function<void(Hello&)> change;
};
class Variations : public testing::TestWithParam<Case> {};
inline std::string name_of_case(const testing::TestParamInfo<Case>& tested) {
  return tested.param.name;
}

}  // namespace sallyport::test
