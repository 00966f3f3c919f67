// Compiled once for each instruction set, with SQK_ISA its name and SQK_LANES its floats a vector.
#include "backward.h"

#define SQK_QUOTE_(name) #name
#define SQK_QUOTE(name) SQK_QUOTE_(name)

namespace SQK_ISA {

template <int CELL>
constexpr Kernels kernels_of() {
  return {SQK_QUOTE(SQK_ISA), pack_floats<CELL>, pack<CELL>,     forward<CELL>,
          pack_back_floats<CELL>, pack_back<CELL>, sums_floats<CELL>, backward<CELL>,
          collect<CELL>, step<CELL>};
}

extern const Kernels kernels[kCells];
const Kernels kernels[kCells] = {kernels_of<SQK_LSTM>(), kernels_of<SQK_GRU>(),
                                 kernels_of<SQK_GRU_RESET_AFTER>(), kernels_of<SQK_SIMPLE_RNN>(),
                                 kernels_of<kNormLstm>()};

}  // namespace SQK_ISA
