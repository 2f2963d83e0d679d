// Which build this is. CMake writes the source file behind it (cmake/build_info.cmake), and compiles it anew only
// where the commit or the date has changed.
#pragma once

namespace sallyport {

struct BuildInfo {
  const char* version;
  const char* commit;    // of git, with -dirty where files differ from it; "unknown" without git, as in a tarball
  const char* date;      // of the build, in UTC; of SOURCE_DATE_EPOCH where that is set
  const char* compiler;  // name and version
};

extern const BuildInfo kBuildInfo;

}  // namespace sallyport
