// What the C interface (api.cpp) and the kernels, which are compiled once for each instruction set,
// know of one another.
#pragma once

#include "memory.h"
#include "seqkeras_native.h"

// One call. go_backwards is resolved into negative strides, lengths are checked.
struct Call {
  sqk_layer layer;
  sqk_outputs outputs;
  sqk_gradients gradients;
};

// Each row of a workspace is a timestep of a row of the batch: `saved` vectors of padded units. The
// padding is that of the widest instruction set, so that all agree on the layout.
constexpr int64_t kPadding = 16;
static inline int64_t padded(int64_t units) { return (units + kPadding - 1) / kPadding * kPadding; }
static inline int64_t gates_of(int32_t cell) {
  return cell == SQK_LSTM ? 4 : cell == SQK_SIMPLE_RNN ? 1 : 3;
}
static inline int64_t saved_of(int32_t cell) {
  // LSTM: i f c o and the cell state before; GRU: z r h, and the state's part of h.
  return cell == SQK_LSTM ? 5 : cell == SQK_GRU ? 3 : cell == SQK_GRU_RESET_AFTER ? 4 : 0;
}

struct Kernels {
  const char *name;
  // Weights in the order in which the forward loop reads them.
  int64_t (*pack_floats)(const sqk_layer &);
  void (*pack)(const sqk_layer &, float *packed);
  bool (*forward)(const Call &, const float *packed, Arena &, int64_t first, int64_t last);
  // Transposed weights, and sums of weight gradients of one thread.
  int64_t (*pack_back_floats)(const sqk_layer &);
  void (*pack_back)(const sqk_layer &, float *packed);
  int64_t (*sums_floats)(const sqk_layer &);
  bool (*backward)(const Call &, const float *packed, float *sums, Arena &, int64_t first,
                   int64_t last);
  // Adds up the sums of all threads, in their order, into the arrays of the caller.
  void (*collect)(const Call &, float *const *sums, int64_t parts);
  bool (*step)(const sqk_layer &, const float *packed, Arena &, int64_t rows, const float *x,
               const float *h, const float *c, float *h_out, float *c_out);
};
