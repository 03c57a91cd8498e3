// Volatile, so that each branch stays one.
int size(int n) {
  volatile int digits = 1;
  if (n > 10) digits = 2;
  if (n > 100) digits = 3;
  return digits;
}
