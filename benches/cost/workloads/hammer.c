/* A loop whose few edges all run again and again: with two threads, both write the same counters. */
static volatile unsigned long sum;

void work(void) {
  unsigned long own = sum;
  for (int i = 0; i < 20000; i++) {
    if (own & 1)
      own = own * 3 + 1;
    else
      own /= 2;
  }
  sum = own ? own : 27;
}
