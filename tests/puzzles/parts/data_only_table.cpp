// The data of data_only.cpp, and nothing else.
extern __attribute__((visibility("default"))) const unsigned char data_only_table[3] = {'d', 'a', 't'};
