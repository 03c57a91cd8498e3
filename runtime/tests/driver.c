/* Runs a script of commands inside one process, so that a test can say what happens when, in words.
 * Prints one number for each command that asks for one. Expects: to be started with commands as
 * arguments; `rt PATH` before any command that needs the runtime. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *rt, *libs[48];

static void *need(void *handle, const char *name) {
  void *found = dlsym(handle, name);
  if (!found) fprintf(stderr, "driver: %s\n", dlerror()), _exit(9);
  return found;
}

static void *open_library(const char *path, int how) {
  void *handle = dlopen(path, RTLD_NOW | how);
  if (!handle) fprintf(stderr, "driver: %s\n", dlerror()), _exit(9);
  return handle;
}

struct race { void (*functions[64])(void); int count, times; volatile int done; };

static void *racer(void *argument) {
  struct race *race = argument;
  for (int i = 0; i < race->times; i++) race->functions[i % race->count]();
  __atomic_add_fetch(&race->done, 1, __ATOMIC_RELEASE);
  return NULL;
}

static uint8_t saved[1 << 20];
static size_t saved_len;

/* Lets `copy` write into bytes of 0xEE; prints how many it wrote, then the number of bits in them. */
static void copy_bits(void (*copy)(uint8_t *)) {
  memset(saved, 0xEE, sizeof saved);
  copy(saved);
  size_t written = sizeof saved;
  while (written && saved[written - 1] == 0xEE) written--;
  int bits = 0;
  for (size_t at = 0; at < written; at++) bits += __builtin_popcount(saved[at]);
  printf("%zu\n%d\n", written, bits);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  for (int i = 1; i < argc; i++) {
    char word[32] = "", text[900] = "";
    int lib = 0, first = 0, times = 1;
    sscanf(argv[i], "%31s %899s", word, text);
#define IS(name) (!strcmp(word, name))
    if (IS("rt")) rt = open_library(text, RTLD_GLOBAL);
    else if (IS("rt-local")) rt = open_library(text, RTLD_LOCAL);
    else if (IS("rt-of")) rt = libs[atoi(text)]; /* the runtime as the library's own handle shows it */
    else if (IS("second")) rt = open_library(text, RTLD_GLOBAL);
    else if (IS("open")) { int at = 0; while (libs[at]) at++; libs[at] = open_library(text, RTLD_LOCAL); }
    else if (IS("close")) { dlclose(libs[atoi(text)]); libs[atoi(text)] = NULL; }
    else if (IS("call")) {                      /* call LIB FUNCTION TIMES */
      sscanf(argv[i], "%*s %d %d %d", &lib, &first, &times);
      char name[16];
      snprintf(name, sizeof name, "f%d", first);
      void (*f)(void) = (void (*)(void))need(libs[lib], name);
      while (times--) f();
    }
    else if (IS("race")) {                      /* race LIB TIMES [COUNT]: two threads call f0, f1, … while this one reads */
      struct race race = {.count = 1};
      sscanf(argv[i], "%*s %d %d %d", &lib, &race.times, &race.count);
      for (int f = 0; f < race.count; f++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", f);
        race.functions[f] = (void (*)(void))need(libs[lib], name);
      }
      pthread_t threads[2];
      for (int t = 0; t < 2; t++) pthread_create(&threads[t], NULL, racer, &race);
      uint64_t (*hits)(void) = (uint64_t (*)(void))need(rt, "hitmap_hits");
      while (__atomic_load_n(&race.done, __ATOMIC_ACQUIRE) < 2) hits();
      for (int t = 0; t < 2; t++) pthread_join(threads[t], NULL);
    }
    else if (IS("set")) { sscanf(argv[i], "%*s %d %d", &lib, &first); ((void (*)(int))need(libs[lib], "set"))(first); }
    else if (IS("get")) { sscanf(argv[i], "%*s %d", &lib); printf("%d\n", ((int (*)(void))need(libs[lib], "get"))()); }
    else if (IS("hits")) printf("%lu\n", ((uint64_t (*)(void))need(rt, "hitmap_hits"))());
    else if (IS("total")) printf("%lu\n", ((uint64_t (*)(void))need(rt, "hitmap_total"))());
    else if (IS("reset")) ((void (*)(void))need(rt, "hitmap_reset"))();
    else if (IS("gather")) ((void (*)(void))need(rt, "hitmap_gather"))();
    else if (IS("push")) printf("%d\n", ((int (*)(void))need(rt, "hitmap_push"))());
    else if (IS("pop")) printf("%d\n", ((int (*)(void))need(rt, "hitmap_pop"))());
    else if (IS("save")) saved_len = ((size_t (*)(uint8_t *, size_t))need(rt, "hitmap_copy"))(saved, sizeof saved);
    else if (IS("class")) printf("%d\n", saved[atoi(text)]);
    else if (IS("restore")) printf("%d\n", ((int (*)(uint8_t *, size_t))need(rt, "hitmap_restore"))(saved, saved_len));
    else if (IS("merge")) printf("%d\n", ((int (*)(uint8_t *, size_t))need(rt, "hitmap_merge"))(saved, saved_len));
    else if (IS("merge-too-long")) printf("%d\n", ((int (*)(uint8_t *, size_t))need(rt, "hitmap_merge"))(saved, sizeof saved));
    else if (IS("pack")) {                      /* pack [BYTES TOO FEW]: prints how many it takes */
      size_t (*pack)(uint8_t *, size_t) = (size_t (*)(uint8_t *, size_t))need(rt, "hitmap_serialize");
      saved_len = pack(NULL, 0);
      memset(saved, 0xEE, saved_len);
      printf("%zu\n", pack(saved, saved_len - (size_t)atoi(text)));
    }
    else if (IS("unpack")) {                    /* unpack [BYTES MORE OR LESS] */
      int (*unpack)(const uint8_t *, size_t) = (int (*)(const uint8_t *, size_t))need(rt, "hitmap_deserialize");
      printf("%d\n", unpack(saved, saved_len + (size_t)atol(text)));
    }
    else if (IS("keep") || IS("kept")) {        /* keep PATH, kept PATH: the saved bytes to a file, and back */
      FILE *file = fopen(text, IS("keep") ? "wb" : "rb");
      if (IS("keep")) fwrite(saved, 1, saved_len, file);
      else saved_len = fread(saved, 1, sizeof saved, file);
      fclose(file);
    }
    else if (IS("create")) {                    /* create EDGES: prints what attaching to it gives */
      uint64_t token;
      int fd = ((int (*)(uint32_t, uint64_t *))need(rt, "hitmap_create"))((uint32_t)atoi(text), &token);
      printf("%d\n", fd < 0 ? fd : ((int (*)(int, uint64_t))need(rt, "hitmap_attach"))(fd, token));
    }
    else if (IS("ask")) printf("%zu\n", ((size_t (*)(void))need(rt, text))());     /* ask FUNCTION */
    else if (IS("tell")) {                      /* tell FUNCTION [NUMBER] */
      unsigned long number = 0;
      sscanf(argv[i], "%*s %*s %lu", &number);
      ((void (*)(size_t))need(rt, text))(number);
    }
    else if (IS("copy-bits")) copy_bits((void (*)(uint8_t *))need(rt, text));       /* copy-bits FUNCTION */
    else if (IS("byte")) printf("%d\n", saved[atoi(text)]);
    else if (IS("give")) ((void (*)(const uint8_t *))need(rt, text))(saved);        /* give FUNCTION */
    else if (IS("serialize")) {
      const uint8_t *bytes = ((const uint8_t *(*)(size_t *))need(rt, "serialize_mem_coverage"))(&saved_len);
      memcpy(saved, bytes, saved_len);
    }
    else if (IS("scribble")) { int at, value; sscanf(argv[i], "%*s %d %d", &at, &value); saved[at] = (uint8_t)value; }
    else if (IS("deserialize")) {               /* deserialize [BYTES MORE OR LESS] */
      long more = 0;
      sscanf(argv[i], "%*s %ld", &more);
      ((void (*)(const uint8_t *, size_t))need(rt, "deserialize_mem_coverage"))(saved, saved_len + more);
    }
    else if (IS("function")) ((void (*)(uint64_t))need(rt, "__llvm_covmap_hit_function"))(strtoull(text, NULL, 0));
    else if (IS("say")) {                       /* tells the test that it got here, and waits for its answer */
      char answer;
      printf("-1\n");
      if (read(0, &answer, 1) != 1) _exit(9);
    }
    else if (IS("attach") || IS("enter")) {     /* attach fd:FD:TOKEN, enter fd:FD:TOKEN */
      int fd; uint64_t token;
      sscanf(argv[i], "%*s fd:%d:%lx", &fd, &token);
      printf("%d\n", ((int (*)(int, uint64_t))need(rt, IS("enter") ? "hitmap_enter" : "hitmap_attach"))(fd, token));
    }
    else if (IS("twin")) {                      /* prints what entering one's own gives */
      uint64_t token;
      int fd = ((int (*)(uint64_t *))need(rt, "hitmap_twin"))(&token);
      printf("%d\n", fd < 0 ? fd : ((int (*)(int, uint64_t))need(rt, "hitmap_enter"))(fd, token));
    }
    else if (IS("modules")) printf("%zu\n", ((size_t (*)(void *, size_t))need(rt, "hitmap_modules"))(NULL, 0));
    else if (IS("fork")) {                      /* the child goes on; the parent waits for it, then skips to `parent` */
      if (fork() == 0) continue;
      int status;
      wait(&status);
      while (i + 1 < argc && strcmp(argv[i + 1], "parent")) i++;
    }
    else if (IS("parent")) continue; /* where the parent of a fork goes on */
    else if (IS("kill")) kill(getpid(), SIGKILL);
    else if (IS("end")) _exit(0);
    else if (IS("exit")) exit(0);
    else fprintf(stderr, "driver: what is %s?\n", argv[i]), _exit(9);
  }
  return 0;
}
