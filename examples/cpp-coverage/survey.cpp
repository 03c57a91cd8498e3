// Runs each expression in a process of its own, on one map that all of them share, and carries coverage over from one
// run of this program to the next.
//
//   survey FILE EXPRESSION...
//
// A child counts straight into the map, so what it covered is known also when it dies. FILE holds what all runs covered;
// it is made when it is not there.
#include <hitmap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "calculator.hpp"

static void check(int code, const char *what) {
  if (code >= 0) return;
  std::fprintf(stderr, "survey: %s: hitmap says %d\n", what, code);
  std::exit(1);
}

// What earlier runs covered, as classes; the view itself is empty afterwards.
static std::vector<uint8_t> earlier(const char *path) {
  std::vector<uint8_t> classes(hitmap_total());
  std::ifstream file(path, std::ios::binary);
  std::vector<char> saved{std::istreambuf_iterator<char>(file), {}};
  if (!saved.empty()) check(hitmap_deserialize((const uint8_t *)saved.data(), saved.size()), path);
  hitmap_copy(classes.data(), classes.size());
  hitmap_reset();
  return classes;
}

// What became of the expression: 0, or the signal that ended its process.
static int in_a_child(const std::string &expression) {
  pid_t child = fork();
  if (child == 0) {
    try {
      calculate(expression);
    } catch (const std::exception &) {
      std::abort();
    }
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) check(-1, "fork");
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int main(int argc, char **argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: survey FILE EXPRESSION...\n"), 1;
  std::vector<uint8_t> known = earlier(argv[1]);

  // Children that are forked from now on count in the same map.
  uint64_t token = 0;
  int map = hitmap_create(1 << 16, &token);
  check(map, "a map");
  check(hitmap_attach(map, token), "joining it");

  for (int i = 2; i < argc; i++) {
    uint64_t before = hitmap_hits();
    int signal = in_a_child(argv[i]);
    std::printf("%3llu new: %s%s\n", (unsigned long long)(hitmap_hits() - before), argv[i], signal ? ", killed" : "");
  }

  uint64_t own = hitmap_hits();
  check(hitmap_merge(known.data(), known.size()), "merging");
  std::printf("%llu in this run, %llu with earlier ones, of %llu edges\n", (unsigned long long)own,
              (unsigned long long)hitmap_hits(), (unsigned long long)hitmap_total());

  std::vector<uint8_t> bytes(hitmap_serialize(nullptr, 0));
  hitmap_serialize(bytes.data(), bytes.size());
  std::ofstream(argv[1], std::ios::binary).write((const char *)bytes.data(), bytes.size());
}
