// A map of 1024 edges, most of which never run.
#define EDGES 1024
#define MODULE journal_1k
#include "../journal.h"
