// Treats numbers below 1e-38 as zeros in the current thread, as long as an object of this class
// lives. Gradients that vanish over many timesteps pass through such numbers, and some processors
// take a hundred times as long for each operation on them.
#pragma once

#include <stdint.h>

class NoDenormals {
 public:
#if defined(__SSE__)
  NoDenormals() : before_(__builtin_ia32_stmxcsr()) {
    __builtin_ia32_ldmxcsr(before_ | 0x8040);  // flush to zero, denormals are zeros
  }
  ~NoDenormals() { __builtin_ia32_ldmxcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  NoDenormals() {
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before_));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before_ | uint64_t{1} << 24));
  }
  ~NoDenormals() { __asm__ __volatile__("msr fpcr, %0" : : "r"(before_)); }

 private:
  uint64_t before_;
#else
  NoDenormals() {}
  ~NoDenormals() {}
#endif
};
