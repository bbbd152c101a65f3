# A stand-in of what find_package(Slicer) gives to the CMakeLists.txt of an extension with scripted modules only, to see
# without Slicer which files end up in the package. Written from the observed behaviour of Slicer's and CTK's macros:
#
#   slicerMacroBuildScriptedModule   copies every entry to <build>/lib/Slicer-X.Y/qt-scripted-modules/<same relative
#                                    path> and installs that folder. An entry that climbs out of its folder ("../x") is
#                                    copied beside the installed folder, without a warning. An entry that does not
#                                    exist, no SCRIPTS, or an unknown word is fatal. A script may lack its ".py".
#   slicer_add_python_unittest       registers the ctest py_<prefix><script>.
#   Slicer_USE_FILE                  defines both, and the variables below.
#   Slicer_EXTENSION_GENERATE_CONFIG, Slicer_EXTENSION_CPACK     want their metadata; here they only check it.
#
# Not imitated: compiled modules, translations, byte compilation, the layout of macOS, CPack itself.

set(Slicer_VERSION_MAJOR 5)
set(Slicer_VERSION_MINOR 12)
set(Slicer_USE_PYTHONQT ON)
set(Slicer_LAUNCHER_EXECUTABLE "Slicer")
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/ExtensionMetadata.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/ExtensionMetadata.cmake")
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-${Slicer_VERSION_MAJOR}.${Slicer_VERSION_MINOR}/qt-scripted-modules")
