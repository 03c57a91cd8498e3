# Defines hitmap::runtime, memcov, hitmap::coverage and hitmap::functions. Owns nothing but these; knows of no compiler wrapper.
#
#   hitmap::runtime    libhitmap_rt.so and hitmap.h
#   memcov             the same by the name that memcov's users link: the calls mcov_* on the library's own handle. What the
#                      target has compiled with trace-pc-guard is counted in line
#   hitmap::coverage   memcov, and every source file of the target instrumented for hit or not hit
#   hitmap::functions  memcov, and every function of the target instrumented for llvm-covmap's live bitmap
#
# The runtime is linked so that it stays a NEEDED entry also where nothing names a symbol of it, and its folder becomes
# part of the run path: otherwise a handle of the library alone would have no mcov_*.

include_guard(GLOBAL)

if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  message(FATAL_ERROR "hitmap's runtime works on Linux")
endif()

set(HITMAP_RUNTIME "" CACHE FILEPATH "libhitmap_rt.so to link; empty: an installed hitmap's, or else built by cargo")

# An installed hitmap: these files lie in it, or Python finds it. Python does not import it, it only says where it is.
function(_hitmap_installed result)
  set(${result} "" PARENT_SCOPE)
  get_filename_component(beside "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../_rt/libhitmap_rt.so" ABSOLUTE)
  if(EXISTS "${beside}")
    set(${result} "${beside}" PARENT_SCOPE)
    return()
  endif()
  foreach(python IN ITEMS "${Python_EXECUTABLE}" "${Python3_EXECUTABLE}" "${PYTHON_EXECUTABLE}" python3 python)
    if(python STREQUAL "")
      continue()
    endif()
    execute_process(
      COMMAND "${python}" -c "import importlib.util as u; print(u.find_spec('hitmap').submodule_search_locations[0])"
      OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed AND EXISTS "${folder}/_rt/libhitmap_rt.so")
      set(${result} "${folder}/_rt/libhitmap_rt.so" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

# The source tree: cargo builds the runtime with the rest of the project.
function(_hitmap_by_cargo result)
  set(${result} "" PARENT_SCOPE)
  get_filename_component(root "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../.." ABSOLUTE)
  find_program(HITMAP_CARGO cargo HINTS "$ENV{HOME}/.cargo/bin")
  if(NOT EXISTS "${root}/runtime/Cargo.toml" OR NOT HITMAP_CARGO)
    return()
  endif()
  set(target "${CMAKE_BINARY_DIR}/hitmap-cargo")
  set(built "${target}/release/libhitmap_rt.so")
  add_custom_target(hitmap-cargo
    COMMAND "${HITMAP_CARGO}" build --quiet --release --locked -p hitmap-runtime --target-dir "${target}"
    WORKING_DIRECTORY "${root}" BYPRODUCTS "${built}" COMMENT "Building libhitmap_rt.so" VERBATIM)
  set(${result} "${built}" PARENT_SCOPE)
endfunction()

set(_hitmap_runtime "${HITMAP_RUNTIME}")
if(_hitmap_runtime AND NOT EXISTS "${_hitmap_runtime}")
  message(FATAL_ERROR "HITMAP_RUNTIME is ${_hitmap_runtime}, which does not exist")
endif()
if(NOT _hitmap_runtime)
  _hitmap_installed(_hitmap_runtime)
endif()
if(NOT _hitmap_runtime)
  _hitmap_by_cargo(_hitmap_runtime)
endif()
if(NOT _hitmap_runtime)
  message(FATAL_ERROR "no libhitmap_rt.so: pip install hitmap, or install Rust, or set HITMAP_RUNTIME to the file")
endif()
get_filename_component(_hitmap_runtime "${_hitmap_runtime}" ABSOLUTE)
get_filename_component(_hitmap_folder "${_hitmap_runtime}" DIRECTORY)
message(STATUS "hitmap runtime: ${_hitmap_runtime}")

# The header lies beside the installed runtime, or in the source tree.
set(_hitmap_include "")
foreach(_hitmap_candidate IN ITEMS
    "${_hitmap_folder}" "${CMAKE_CURRENT_LIST_DIR}/../include" "${CMAKE_CURRENT_LIST_DIR}/../../_rt")
  if(NOT _hitmap_include AND EXISTS "${_hitmap_candidate}/hitmap.h")
    set(_hitmap_include "${_hitmap_candidate}")
  endif()
endforeach()

add_library(hitmap::runtime INTERFACE IMPORTED GLOBAL)
if(TARGET hitmap-cargo)
  add_dependencies(hitmap::runtime hitmap-cargo)
endif()
if(_hitmap_include)
  set_property(TARGET hitmap::runtime PROPERTY INTERFACE_INCLUDE_DIRECTORIES "${_hitmap_include}")
endif()
# One option, so that CMake can neither reorder nor merge its words. CMake does not know the path as a library, so
# `cmake --install` keeps the run path.
set_property(TARGET hitmap::runtime PROPERTY INTERFACE_LINK_OPTIONS
  "LINKER:--push-state,--no-as-needed,${_hitmap_runtime},--pop-state" "LINKER:-rpath,${_hitmap_folder}")

# The stub and the header of hitmap-clang: an object that each library carries, and a macro by which the assembler counts
# where the compiler calls. Both lie in the source tree or in an installed hitmap. The object is made here and now, so that
# a project of any language takes it.
function(_hitmap_stub result header)
  set(${result} "" PARENT_SCOPE)
  foreach(folder IN ITEMS "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../stub" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../build/stub")
    foreach(language IN ITEMS C CXX)
      if(NOT CMAKE_${language}_COMPILER_ID MATCHES "Clang" OR NOT EXISTS "${folder}/hitmap_stub.c")
        continue()
      endif()
      set(made "${CMAKE_BINARY_DIR}/hitmap/hitmap_stub.o")
      set(target "")
      if(CMAKE_${language}_COMPILER_TARGET)
        set(target "--target=${CMAKE_${language}_COMPILER_TARGET}")
      endif()
      file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/hitmap")
      execute_process(
        COMMAND "${CMAKE_${language}_COMPILER}" ${target} -x c -O2 -fPIC -fvisibility=hidden -fno-builtin -g0 -c "${folder}/hitmap_stub.c" -o "${made}"
        RESULT_VARIABLE failed ERROR_VARIABLE said)
      if(NOT failed)
        set(${result} "${made}" PARENT_SCOPE)
        get_filename_component(folder "${folder}" ABSOLUTE)
        set(${header} "${folder}/hitmap_guard.h" PARENT_SCOPE)
        return()
      endif()
      message(WARNING "hitmap's stub does not compile, so guards are counted by calls: ${said}")
    endforeach()
  endforeach()
endfunction()

add_library(memcov INTERFACE IMPORTED GLOBAL)
set_property(TARGET memcov PROPERTY INTERFACE_LINK_LIBRARIES hitmap::runtime)
_hitmap_stub(_hitmap_object _hitmap_header)
if(_hitmap_object)
  set_property(TARGET memcov PROPERTY INTERFACE_LINK_OPTIONS "${_hitmap_object}")
  foreach(_hitmap_language IN ITEMS C CXX)
    set_property(TARGET memcov APPEND PROPERTY INTERFACE_COMPILE_OPTIONS
      "$<$<COMPILE_LANGUAGE:${_hitmap_language}>:SHELL:-Xclang -no-integrated-as -via-file-asm -Wa,--no-warn -Qunused-arguments -include \"${_hitmap_header}\">")
  endforeach()
endif()

# Flags, not counters: 8-bit counters wrap between two looks, and then a hit edge reads as not hit.
add_library(hitmap::coverage INTERFACE IMPORTED GLOBAL)
set_property(TARGET hitmap::coverage PROPERTY INTERFACE_LINK_LIBRARIES memcov)
set_property(TARGET hitmap::coverage PROPERTY INTERFACE_COMPILE_OPTIONS
  "$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize-coverage=edge,inline-bool-flag,pc-table>")

# Guards, so that the runtime is called, and addresses, so that it can tell the functions' names.
add_library(hitmap::functions INTERFACE IMPORTED GLOBAL)
set_property(TARGET hitmap::functions PROPERTY INTERFACE_LINK_LIBRARIES memcov)
set_property(TARGET hitmap::functions PROPERTY INTERFACE_COMPILE_OPTIONS
  "$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize-coverage=func,trace-pc-guard,pc-table>")

foreach(_hitmap_language IN ITEMS C CXX)
  if(CMAKE_${_hitmap_language}_COMPILER_ID STREQUAL "GNU")
    message(WARNING "GCC cannot instrument edges for hitmap; configure with clang: CC=clang CXX=clang++")
    break()
  endif()
endforeach()
