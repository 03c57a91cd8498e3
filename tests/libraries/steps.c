// A library whose functions say what they do, for runs in a child: each step is an edge of its own when the
// compiler does not optimise.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static volatile int sink;

void step(int n) {
  if (n == 0) sink = 1;
  if (n == 1) sink = 2;
  if (n == 2) sink = 3;
  if (n == 3) sink = 4;
}
void crash(void) { *(volatile int *)0 = 1; }
void hang(void) {
  for (;;) pause();
}
void leave(int code) { exit(code); }
void killed(void) { kill(getpid(), SIGKILL); }
