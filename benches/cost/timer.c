/* timer LIBRARY PLAIN SECONDS THREADS [RUNTIME]: loads the runtime with global symbols, then the two libraries, and calls
 * the `work` of one and of the other in turns of some milliseconds, until each took half of so many seconds of CPU time.
 * Prints how many times PLAIN's time LIBRARY takes, and PLAIN's nanoseconds a call: medians of the turns in the first
 * thread. The other threads call what the first one calls.
 *
 * The turns are so short because on a shared machine everything is slower by a third, and calls by more, while the other
 * half of a core works for somebody else: for tenths of a second, or for minutes. */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TURNS = 60 };

typedef void (*Work)(void);

static Work now_at;
static int done;

static double cpu(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void *work_along(void *nothing) {
  while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) __atomic_load_n(&now_at, __ATOMIC_RELAXED)();
  return nothing;
}

/* Nanoseconds a call. The first is not counted: it warms what the other library left cold. */
static double timed(Work work, long calls) {
  __atomic_store_n(&now_at, work, __ATOMIC_RELAXED);
  work();
  double start = cpu();
  for (long i = 0; i < calls; i++) work();
  return 1e9 * (cpu() - start) / (double)calls;
}

static double median(double *of) {
  qsort(of, TURNS, sizeof *of, ascending);
  return of[TURNS / 2];
}

static Work loaded(const char *path) {
  void *library = dlopen(path, RTLD_NOW);
  Work work = library ? (Work)dlsym(library, "work") : NULL;
  if (!work) {
    fprintf(stderr, "%s\n", dlerror());
    exit(3);
  }
  return work;
}

int main(int argc, char **argv) {
  if (argc < 5) return 4;
  int others = atoi(argv[4]) - 1;
  pthread_t threads[64];
  if (others < 0 || others > 64) return 4;
  if (argc > 5 && !dlopen(argv[5], RTLD_NOW | RTLD_GLOBAL)) return fprintf(stderr, "%s\n", dlerror()), 3;
  /* The heap is given back to the system by nobody: that is the kernel's time, and comes and goes. */
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  Work work = loaded(argv[1]), plain = loaded(argv[2]);
  timed(plain, 10);
  for (int i = 0; i < others; i++)
    if (pthread_create(&threads[i], NULL, work_along, NULL)) return 3;
  double turn = 1e9 * atof(argv[3]) / (2 * TURNS), ratios[TURNS], nanoseconds[TURNS];
  long calls[] = {(long)(turn / timed(work, 10)) + 1, (long)(turn / timed(plain, 10)) + 1};
  for (int at = 0; at < TURNS; at++) {
    double ours = timed(work, calls[0]);
    nanoseconds[at] = timed(plain, calls[1]);
    ratios[at] = ours / nanoseconds[at];
  }
  __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < others; i++) pthread_join(threads[i], NULL);
  printf("%.4f %.1f\n", median(ratios), median(nanoseconds));
  return 0;
}
