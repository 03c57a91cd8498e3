# find_package(hitmap): the targets hitmap::runtime, hitmap::coverage and memcov (see targets.cmake).
include("${CMAKE_CURRENT_LIST_DIR}/targets.cmake")
