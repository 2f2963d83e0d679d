# Writes build_info.cc, at each build; where nothing has changed the file keeps its time, and nothing is compiled.
# cmake -DSOURCE=DIR -DINTO=FILE -DVERSION=V -DCOMPILER=C -P build_info.cmake
set(COMMIT unknown)
find_program(GIT git)
if(GIT)
  # The folder must be a checkout itself: a tarball unpacked inside another one has no commit.
  execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse --show-toplevel
    OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(top)
    get_filename_component(top "${top}" REALPATH)
    get_filename_component(source "${SOURCE}" REALPATH)
    if(top STREQUAL source)
      execute_process(COMMAND ${GIT} -C ${SOURCE} describe --always --exclude=* --abbrev=12 --dirty
        OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      if(described)
        set(COMMIT ${described})
      endif()
    endif()
  endif()
endif()
string(TIMESTAMP DATE "%Y-%m-%d" UTC)  # CMake honours SOURCE_DATE_EPOCH here
configure_file(${CMAKE_CURRENT_LIST_DIR}/build_info.cc.in ${INTO} @ONLY)
