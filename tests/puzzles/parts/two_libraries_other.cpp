// The other library of two_libraries.cpp.
extern "C" __attribute__((visibility("default"))) int other_second_step(unsigned char byte) {
  if (byte == 'w') return 1;
  return 0;
}

extern "C" __attribute__((visibility("default"))) int other_fourth_step(unsigned char byte) {
  if (byte == '!') return 1;
  return 0;
}
