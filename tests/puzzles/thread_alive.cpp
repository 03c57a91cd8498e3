// The library starts a thread at import that lives on: it does not survive a fork. No finding, but the user is told.
//
// start: "........"
// expect: found=nothing within=5000
// says: thread
#include "plain.h"

#include <pthread.h>
#include <unistd.h>

static void *for_ever(void *) {
  for (;;) pause();
}

__attribute__((constructor)) static void start() {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, for_ever, nullptr) == 0) pthread_detach(thread);
}

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'x') sink++;
}

PUZZLE(thread_alive)
