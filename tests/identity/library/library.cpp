// The way from an input to its bug.
#include "library.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

Entry *Entry::all = nullptr;

// Frames that say nothing: how deep a bug lies is chance.
KEEP static int nest(const Entry &entry, long depth, long value) {
  int result = depth > 0 ? nest(entry, depth - 1, value) : entry.run(value, entry.first);
  sink = result;
  return result;
}

KEEP static int from_list(const Entry &entry, long depth, long value) {
  int result = nest(entry, depth, value);
  sink = sink + 1;
  return result;
}

KEEP static int from_map(const Entry &entry, long depth, long value) {
  int result = nest(entry, depth, value);
  sink = sink + 2;
  return result;
}

int library_run(const char *text, size_t len) {
  std::string line(text, len);
  char name[64] = "";
  long caller = 0, in_harness = 0, depth = 0, value = 0;
  if (sscanf(line.c_str(), "%63s %ld %ld %ld %ld", name, &caller, &in_harness, &depth, &value) != 5) return 0;
  if (depth < 0 || depth > 50) return 0;
  for (const Entry *entry = Entry::all; entry; entry = entry->next)
    if (strcmp(entry->name, name) == 0)
      return caller == 1 ? from_map(*entry, depth, value) : from_list(*entry, depth, value);
  return 0;
}

int library_run_in_thread(const char *text, size_t len) {
  int result = 0;
  std::thread thread([&] { result = library_run(text, len); });
  thread.join();
  return result;
}
