#include "admin/check.h"
#include "admin/cli/command_line.h"
#include "admin/serve.h"
#include "cache/crypto/locked_memory.h"

int main(int argc, char** argv) {
  sallyport::KeyMemory::install();
  return sallyport::run_command_line(
      argc, argv, {.serve = sallyport::serve, .check = sallyport::check, .examine = sallyport::examine});
}
