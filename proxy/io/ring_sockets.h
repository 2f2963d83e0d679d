// A ring's own table of sockets: direct descriptors, which do not count against the open-file limit of the process
// (io_uring_register(2), IORING_REGISTER_FILES2). One half is filled by the kernel when it accepts, the other by us
// with sockets that were made and set up as plain descriptors. Used by ring.cc alone, on its thread.
//
// Only where closing is prompt: before Linux 6.14 a socket taken out of the table stays open until every operation
// that was in flight then has ended, long receives of other sockets among them.
#pragma once

#include <liburing.h>

#include <unordered_map>
#include <vector>

#include "proxy/io/io.h"

namespace sallyport {

class RingSockets {
 public:
  // A table for `connections` accepted sockets and as many others; 0: none. False: this kernel does not do it, or
  // not well; then everything goes by plain descriptors.
  bool set_up(io_uring& ring, unsigned connections);
  bool usable() const { return half_ > 0; }
  // Room for one more accepted socket and one more of ours, with some to spare for those on their way.
  bool room() const;

  void accepted() { ++accepted_; }
  // Moves a plain descriptor into the table and closes it. Negative: it could not be moved, and is as it was.
  int adopt(int fd);
  // For a shutdown(2) that is being asked for; it completes when that was done. Null: one is on its way already.
  Completion* shutting_down(int slot);
  // At once, or when its shutdown was done: a worker of the kernel looks the slot up when its turn comes, and would
  // shut down whoever has it by then.
  void close(int slot);

 private:
  struct ShuttingDown {
    RingSockets* sockets = nullptr;
    int slot = -1;
    bool close_after = false;
    Completion done;
    void on_done(const IoResult&);
  };
  bool kernel_can(io_uring& ring);

  io_uring* ring_ = nullptr;
  unsigned half_ = 0, accepted_ = 0;
  std::vector<int> free_;  // slots of the second half
  std::unordered_map<int, ShuttingDown> shutting_down_;
};

// Prepares setsockopt(2) for a direct descriptor: SOCKET_URING_OP_SETSOCKOPT, Linux 6.7, which liburing 2.3 does not
// know. `value` stays where it is until it has completed.
void prepare_setsockopt(io_uring_sqe& sqe, int slot, int level, int option, const void* value, unsigned length);

}  // namespace sallyport
