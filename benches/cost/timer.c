/* timer LIBRARY SECONDS THREADS [RUNTIME]: loads the runtime with global symbols, then the library, and has each thread
 * call the library's `work` until it took so many seconds of CPU time. Prints nanoseconds a call in the first thread: the
 * median of chunks, so that a moment of the machine's own does not count. The other threads go on until it is done. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CHUNKS = 40 };

static void (*work)(void);
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

static void *work_on(void *nothing) {
  while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) work();
  return nothing;
}

int main(int argc, char **argv) {
  if (argc < 4) return 4;
  if (argc > 4 && !dlopen(argv[4], RTLD_NOW | RTLD_GLOBAL)) return fprintf(stderr, "%s\n", dlerror()), 3;
  void *library = dlopen(argv[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 3;
  work = (void (*)(void))dlsym(library, "work");
  if (!work) return fprintf(stderr, "%s\n", dlerror()), 3;
  pthread_t threads[64];
  int others = atoi(argv[3]) - 1;
  if (others < 0 || others > 64) return 4;
  double start = cpu(), once;
  for (int i = 0; i < 10; i++) work();
  once = (cpu() - start) / 10;
  for (int i = 0; i < others; i++)
    if (pthread_create(&threads[i], NULL, work_on, NULL)) return 3;
  long calls = (long)(atof(argv[2]) / CHUNKS / once) + 1;
  double chunks[CHUNKS];
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    start = cpu();
    for (long i = 0; i < calls; i++) work();
    chunks[chunk] = (cpu() - start) / (double)calls;
  }
  __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < others; i++) pthread_join(threads[i], NULL);
  qsort(chunks, CHUNKS, sizeof chunks[0], ascending);
  printf("%.1f\n", 1e9 * chunks[CHUNKS / 2]);
  return 0;
}
