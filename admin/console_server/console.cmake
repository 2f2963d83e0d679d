# The console's page, built by Node from admin/console and put into the program: console_files.cc. Where that cannot be,
# the same file says why, and so does one line of this. SALLYPORT_CONSOLE: AUTO, ON (it must be), OFF.
set(console_files_cc ${CMAKE_CURRENT_BINARY_DIR}/console_files.cc)
set(console_source ${CMAKE_CURRENT_SOURCE_DIR}/console)

set(why "")
if(SALLYPORT_CONSOLE STREQUAL "OFF")
  set(why "It was built with SALLYPORT_CONSOLE=OFF.")
elseif(NOT EXISTS ${console_source}/package.json)
  set(why "The sources of the console were not there when it was built.")
else()
  find_program(SALLYPORT_NODE NAMES node nodejs)
  find_program(SALLYPORT_NPM npm)
  mark_as_advanced(SALLYPORT_NODE SALLYPORT_NPM)
  set(node_version "")
  if(SALLYPORT_NODE)
    execute_process(COMMAND ${SALLYPORT_NODE} --version OUTPUT_VARIABLE node_version ERROR_QUIET
      OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REGEX REPLACE "^v" "" node_version "${node_version}")
  endif()
  if(node_version STREQUAL "" OR node_version VERSION_LESS 18 OR NOT SALLYPORT_NPM)
    set(why "Node.js 18 or newer and npm were not there when it was built.")
  endif()
endif()

if(why STREQUAL "")
  # What the page is made of; node_modules and dist of a developer's own are not.
  set(console_sources "")
  file(GLOB tops CONFIGURE_DEPENDS LIST_DIRECTORIES true ${console_source}/* ${console_source}/.npmrc)
  foreach(top IN LISTS tops)
    if(NOT IS_DIRECTORY ${top})
      list(APPEND console_sources ${top})
    elseif(NOT top MATCHES "/(node_modules|dist)$")
      file(GLOB_RECURSE below CONFIGURE_DEPENDS ${top}/*)
      list(APPEND console_sources ${below})
    endif()
  endforeach()
  set(required OFF)
  if(SALLYPORT_CONSOLE STREQUAL "ON")
    set(required ON)
  endif()
  add_custom_command(OUTPUT ${console_files_cc}
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${console_source} -DBUILD=${CMAKE_BINARY_DIR}/console -DINTO=${console_files_cc}
      -DNODE=${SALLYPORT_NODE} -DNPM=${SALLYPORT_NPM} -DREQUIRED=${required} -P ${CMAKE_CURRENT_LIST_DIR}/build_console.cmake
    DEPENDS ${console_sources} ${CMAKE_CURRENT_LIST_DIR}/build_console.cmake ${CMAKE_CURRENT_LIST_DIR}/embed.mjs
      ${CMAKE_CURRENT_LIST_DIR}/no_console.cc.in
    COMMENT "Building the console" VERBATIM)
else()
  if(SALLYPORT_CONSOLE STREQUAL "ON")
    message(FATAL_ERROR "SALLYPORT_CONSOLE=ON: ${why} (apt-get install nodejs npm)")
  endif()
  message(STATUS "The console is left out. ${why}")
  configure_file(${CMAKE_CURRENT_LIST_DIR}/no_console.cc.in ${console_files_cc} @ONLY)
endif()

add_library(sallyport_console_files STATIC ${console_files_cc})
target_link_libraries(sallyport_console_files PUBLIC sallyport_options)
