#include "proxy/io/ring_version.h"

#include <liburing.h>

namespace sallyport {

std::string ring_library_version() {
#ifdef IO_URING_VERSION_MAJOR
  return std::to_string(io_uring_major_version()) + "." + std::to_string(io_uring_minor_version());
#else
  return SALLYPORT_LIBURING;
#endif
}

}  // namespace sallyport
