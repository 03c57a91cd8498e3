// All that is interesting happens on a thread that the target starts and joins: its edges count like any others.
//
// start: "........"
// expect: found=signal within=60000
// where: reached
#include "plain.h"

#include <pthread.h>

struct Work {
  const uint8_t *data;
  size_t len;
};

KEEP static void reached() { abort(); }

static void *on_thread(void *argument) {
  const Work *work = static_cast<Work *>(argument);
  if (at(work->data, work->len, 0) == 't')
    if (at(work->data, work->len, 1) == 'h')
      if (at(work->data, work->len, 2) == 'r') reached();
  return nullptr;
}

void run(const uint8_t *data, size_t len) {
  Work work{data, len};
  pthread_t thread;
  if (pthread_create(&thread, nullptr, on_thread, &work) != 0) return;
  pthread_join(thread, nullptr);
}

PUZZLE(thread_edges)
