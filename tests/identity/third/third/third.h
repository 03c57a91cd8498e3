// A header of somebody else, found by -isystem: what fails here is named by the function of the library that called.
#pragma once

#include <cassert>

namespace third {

struct Slice {
  long *cells;
  long size;

  long at(long index) const {
    assert(index < size);
    return cells[index];
  }

  void put(long index, long value) { cells[index] = value; }
};

}  // namespace third
