#include "admin/cli/command_line.h"
#include "admin/serve.h"

int main(int argc, char** argv) {
  return sallyport::run_command_line(argc, argv, {.serve = sallyport::serve, .check = sallyport::check});
}
