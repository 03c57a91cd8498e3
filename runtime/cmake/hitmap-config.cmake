# find_package(hitmap): the targets that targets.cmake lists.
include("${CMAKE_CURRENT_LIST_DIR}/targets.cmake")
