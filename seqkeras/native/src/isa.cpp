// Compiled once for each instruction set, with SQK_ISA its name and SQK_LANES its floats a vector.
#include "backward.h"

#define SQK_QUOTE_(name) #name
#define SQK_QUOTE(name) SQK_QUOTE_(name)

namespace SQK_ISA {

// With HALF for products in bfloat16, where there are instructions for them.
template <int CELL, bool HALF>
constexpr Kernels kernels_of() {
  if constexpr (HALF && !(SQK_HAS_BFLOAT16 && CELL != SQK_GRU))
    return {};
  else
    return {SQK_QUOTE(SQK_ISA),
            pack_floats<CELL>,
            pack<CELL>,
            forward<CELL, HALF>,
            pack_back_floats<CELL>,
            pack_back<CELL>,
            sums_floats<CELL>,
            backward<CELL, HALF>,
            collect<CELL>,
            step<CELL>};
}

extern const Kernels kernels[2 * kCells];
const Kernels kernels[2 * kCells] = {
#define SQK_CELLS(half)                                                                          \
  kernels_of<SQK_LSTM, half>(), kernels_of<SQK_GRU, half>(),                                     \
      kernels_of<SQK_GRU_RESET_AFTER, half>(), kernels_of<SQK_SIMPLE_RNN, half>(),               \
      kernels_of<kNormLstm, half>()
    SQK_CELLS(false), SQK_CELLS(true)};

}  // namespace SQK_ISA
