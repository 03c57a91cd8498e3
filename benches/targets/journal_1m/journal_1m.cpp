// A map of 1048576 edges, most of which never run.
#define EDGES 1048576
#define MODULE journal_1m
#include "../journal.h"
