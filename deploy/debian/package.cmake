# `cpack` in the build folder makes the Debian package: deploy/debian/README.md. Included by deploy/CMakeLists.txt.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME sallyport)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "TLS-terminating proxy for MQTT brokers that knows the devices")
set(CPACK_PACKAGE_DESCRIPTION "Sallyport terminates mutual TLS in front of the MQTT brokers you already run,
decides whether a device's certificate and its CA are in good standing,
registers a new device on its first valid connection, and hands plain MQTT
to a broker such as Mosquitto. A certificate can be deactivated or revoked at
any time, and the device is cut off before the command returns.")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "The Sallyport project <maintainers@sallyport.invalid>")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(debian_release 13)
if(SALLYPORT_SYSTEMD_VERSION LESS 253)
  set(debian_release 12)
endif()
set(CPACK_DEBIAN_PACKAGE_RELEASE 1~deb${debian_release})
# systemd-sysusers and systemd-tmpfiles make the user and the folders, also where systemd does not run.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, procps, libpq5")  # the last one is loaded where registry.shared is set
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "mosquitto")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_STRIP_FILES OFF)  # `cmake --install` does it, and keeps the debug information apart

# One package of all but the debug information.
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_COMPONENTS_ALL binary service docs debian)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

# What a Debian package has and `cmake --install` alone leaves out: the configuration, the licence, the changelog.
set(debian ${CMAKE_CURRENT_SOURCE_DIR}/debian)
if(sallyport_runs_here)
  install(FILES ${made}/sallyport.toml DESTINATION /etc/sallyport PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ
    COMPONENT debian EXCLUDE_FROM_ALL)
  string(TIMESTAMP SALLYPORT_PACKAGED "%a, %d %b %Y %H:%M:%S +0000" UTC)
  configure_file(${debian}/changelog.in ${made}/changelog @ONLY)
  add_custom_command(OUTPUT ${made}/changelog.gz ${made}/changelog.Debian.gz
    COMMAND ${GZIP} -9nc ${PROJECT_SOURCE_DIR}/CHANGELOG.md >${made}/changelog.gz
    COMMAND ${GZIP} -9nc ${made}/changelog >${made}/changelog.Debian.gz
    DEPENDS ${PROJECT_SOURCE_DIR}/CHANGELOG.md ${made}/changelog)
  add_custom_target(sallyport_packed ALL DEPENDS ${made}/changelog.gz)
  install(FILES ${made}/changelog.gz ${made}/changelog.Debian.gz ${debian}/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR}
    COMPONENT debian EXCLUDE_FROM_ALL)
endif()
install(FILES ${debian}/lintian-overrides DESTINATION share/lintian/overrides RENAME sallyport COMPONENT debian
  EXCLUDE_FROM_ALL)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${debian}/conffiles ${debian}/postinst ${debian}/prerm ${debian}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
