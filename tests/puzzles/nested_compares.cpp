// Six nested byte compares: each opens one edge, so coverage must lead through all of them.
//
// start: "........"
// expect: found=signal within=1500000
// where: reached
#include "plain.h"

KEEP static void reached() { abort(); }

void run(const uint8_t *data, size_t len) {
  if (len < 6) return;
  if (data[0] == 'm')
    if (data[1] == 'a')
      if (data[2] == 'z')
        if (data[3] == 'e')
          if (data[4] == '!')
            if (data[5] == 0x07) reached();
}

PUZZLE(nested_compares)
