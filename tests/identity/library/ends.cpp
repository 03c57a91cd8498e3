// Ways to end the process, and to leave a call other than by return.
#include <pthread.h>
#include <setjmp.h>
#include <unistd.h>

#include <cstdlib>

#include "library.h"

BUG(exit_a) {
  if (value >= 0) exit(1);
  return 0;
}

BUG(exit_b) {
  sink = value;
  if (value >= 0) exit(1);
  return 0;
}

BUG(quick_exit_a) {
  if (value >= 0) quick_exit(2);
  return 0;
}

BUG(quick_exit_b) {
  sink = value;
  if (value >= 0) quick_exit(2);
  return 0;
}

BUG(leave_a) {
  if (value >= 0) _exit(3);
  return 0;
}

BUG(leave_b) {
  sink = value;
  if (value >= 0) _exit(3);
  return 0;
}

// ---- what runs at the end crashes -------------------------------------------------------------

KEEP static void at_end_a() {
  *nowhere = 1;
  sink = 1;
}

KEEP static void at_end_b() {
  sink = nowhere[8];
  sink = 2;
}

BUG(at_exit_a) {
  atexit(at_end_a);
  exit(static_cast<int>(value % 2));
}

BUG(at_exit_b) {
  atexit(at_end_b);
  sink = value;
  exit(0);
}

// ---- forced unwinding -------------------------------------------------------------------------

BUG(thread_exit_a) {
  if (value >= 0) pthread_exit(nullptr);
  return 0;
}

BUG(thread_exit_b) {
  sink = value;
  if (value >= 0) pthread_exit(nullptr);
  return 0;
}

BUG(cancel_a) {
  pthread_cancel(pthread_self());
  pthread_testcancel();
  return 0;
}

BUG(cancel_b) {
  sink = value;
  pthread_cancel(pthread_self());
  pthread_testcancel();
  return 0;
}

// ---- jumps ------------------------------------------------------------------------------------

static jmp_buf gone;

KEEP static int marks() {
  char room[200];
  asm volatile("" : : "r"(room) : "memory");
  int jumped = setjmp(gone);
  asm volatile("" : : "r"(room) : "memory");
  return jumped;
}

// To a frame that is gone. The C library looks, as this is compiled with _FORTIFY_SOURCE.
BUG(jump_a) {
  if (marks() == 0) longjmp(gone, 1);
  return 0;
}

BUG(jump_b) {
  sink = value;
  if (marks() == 0) longjmp(gone, 2);
  return 0;
}

KEEP static void fails(jmp_buf &back) {
  sink = 1;
  longjmp(back, 1);
}

// As image libraries report errors: no bug.
BUG(jumps_back) {
  jmp_buf back;
  if (setjmp(back) == 0) fails(back);
  return 0;
}

// The jump was fine, what comes after is not.
BUG(jumped_a) {
  jumps_back(value);
  *nowhere = value;
  return 0;
}

BUG(jumped_b) {
  jumps_back(value);
  sink = nowhere[9];
  return 0;
}
