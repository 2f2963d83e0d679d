#include "admin/cli/command_line.h"

int main(int argc, char** argv) {
  return sallyport::run_command_line(argc, argv);
}
