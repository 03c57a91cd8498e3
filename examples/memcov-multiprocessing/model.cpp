// Stands for a compiler that is used from Python: it "compiles" a model, a string of layers, and may crash.
#include <cstdlib>
#include <cstring>

extern "C" int compile_model(const char *layers) {
  int cost = 0;
  for (; *layers; ++layers) {
    switch (*layers) {
      case 'c': cost += 9; break;                                 // convolution
      case 'r': cost += cost > 9 ? 1 : 2; break;                  // a rectifier is cheaper when fused
      case 'p': cost /= 2; break;                                 // pooling
      case 's': if (std::strlen(layers) > 1) std::abort(); break; // softmax must be last
      default: return -1;
    }
  }
  return cost;
}
