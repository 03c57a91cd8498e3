// Changes what a process has only once: folder, umask, signal mask, handlers, standard descriptors. The bug that
// follows is still found, and in the right folder.
//
// start: "........"
// expect: found=signal within=20000
// where: reached
#include "plain.h"

#include <csignal>
#include <sys/stat.h>
#include <unistd.h>

KEEP static void reached() { abort(); }

void run(const uint8_t *data, size_t len) {
  if (chdir("/") != 0) return;
  umask(0777);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  for (int fd = 0; fd < 3; fd++) close(fd);
  if (at(data, len, 0) == 'b') reached();
}

PUZZLE(bad_manners)
