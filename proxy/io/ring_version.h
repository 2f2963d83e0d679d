// Which liburing this program runs with.
#pragma once

#include <string>

namespace sallyport {

std::string ring_library_version();  // before 2.4, which cannot say it, the one compiled with

}  // namespace sallyport
