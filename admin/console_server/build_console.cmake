# cmake -DSOURCE= -DBUILD= -DINTO= -DNODE= -DNPM= -DREQUIRED= -P: builds admin/console in a copy, and writes INTO from what
# comes out. The packages are those of the lock file, no script of theirs is run, and they are fetched again only when it
# changes. A machine that the registry cannot be reached from gets a program without the page, unless REQUIRED.
get_filename_component(here ${CMAKE_CURRENT_LIST_FILE} DIRECTORY)

# The copy: what was there before goes, but for the packages.
file(MAKE_DIRECTORY ${BUILD})
file(GLOB old LIST_DIRECTORIES true ${BUILD}/* ${BUILD}/.npmrc)
list(FILTER old EXCLUDE REGEX "/(node_modules|packages\\.sha256)$")
if(old)
  file(REMOVE_RECURSE ${old})
endif()
file(GLOB new LIST_DIRECTORIES true ${SOURCE}/* ${SOURCE}/.npmrc)
list(FILTER new EXCLUDE REGEX "/(node_modules|dist)$")
file(COPY ${new} DESTINATION ${BUILD})

# npm must find this node, whichever it would find by itself.
get_filename_component(node_folder ${NODE} DIRECTORY)
set(ENV{PATH} "${node_folder}:$ENV{PATH}")
set(ENV{npm_config_update_notifier} false)

file(SHA256 ${BUILD}/package-lock.json packages)
set(before "")
if(EXISTS ${BUILD}/packages.sha256)
  file(READ ${BUILD}/packages.sha256 before)
endif()
if(NOT before STREQUAL packages)
  file(REMOVE ${BUILD}/packages.sha256)
  execute_process(COMMAND ${NPM} ci --ignore-scripts --no-audit --no-fund --prefer-offline WORKING_DIRECTORY ${BUILD}
    RESULT_VARIABLE failed OUTPUT_VARIABLE said ERROR_VARIABLE said)
  if(failed)
    if(REQUIRED)
      message(FATAL_ERROR "npm ci failed:\n${said}")
    endif()
    set(why "npm could not fetch its packages when it was built.")
    message(WARNING "The console is left out. ${why} Delete ${INTO} to try again.\n${said}")
    configure_file(${here}/no_console.cc.in ${INTO} @ONLY)
    return()
  endif()
  file(WRITE ${BUILD}/packages.sha256 ${packages})
endif()

execute_process(COMMAND ${NPM} run --silent build WORKING_DIRECTORY ${BUILD} RESULT_VARIABLE failed
  OUTPUT_VARIABLE said ERROR_VARIABLE said)
if(failed)
  message(FATAL_ERROR "npm run build failed in ${BUILD}:\n${said}")
endif()
execute_process(COMMAND ${NODE} ${here}/embed.mjs ${BUILD}/dist ${INTO}.new RESULT_VARIABLE failed ERROR_VARIABLE said)
if(failed)
  message(FATAL_ERROR "embed.mjs failed:\n${said}")
endif()
file(RENAME ${INTO}.new ${INTO})
