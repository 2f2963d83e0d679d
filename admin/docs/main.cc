// admin_docs DIR writes the generated pages of the reference; admin_docs --check DIR compares them with those there.
// admin_docs --man DIR writes the man pages.
#include <fstream>
#include <iostream>
#include <sstream>

#include "admin/docs/pages.h"

namespace {

int write(const std::string& dir, const std::vector<sallyport::DocPage>& pages) {
  for (const sallyport::DocPage& page : pages) {
    std::ofstream file(dir + "/" + page.file);
    file << page.text;
    if (!file.flush()) return std::cerr << "admin_docs: " << dir << "/" << page.file << " cannot be written\n", 1;
  }
  return 0;
}

int check(const std::string& dir) {
  int status = 0;
  for (const sallyport::DocPage& page : sallyport::generated_pages()) {
    std::ostringstream committed;
    committed << std::ifstream(dir + "/" + page.file).rdbuf();
    if (committed.str() == page.text) continue;
    std::cerr << dir << "/" << page.file << " differs from what the program does: write it anew with "
              << "`build/release/admin_docs admin/docs`\n";
    status = 1;
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (argc == 3 && first == "--check") return check(argv[2]);
  if (argc == 3 && first == "--man") return write(argv[2], sallyport::man_pages());
  if (argc == 2 && first.substr(0, 1) != "-") return write(first, sallyport::generated_pages());
  std::cerr << "usage: admin_docs [--check | --man] DIR\n";
  return 2;
}
