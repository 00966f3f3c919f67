// What the C interface (api.cpp) and the kernels share. The kernels are compiled once for each
// instruction set.
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
// An LSTM with layer normalization is a cell of its own here.
enum { kNormLstm = SQK_SIMPLE_RNN + 1, kCells };
static inline int32_t cell_of(const sqk_layer &layer) {
  return layer.norm ? static_cast<int32_t>(kNormLstm) : layer.cell;
}

static inline bool has_zoneout(const sqk_layer &layer) {
  return layer.zoneout_h_mask || layer.zoneout_c_mask || layer.zoneout_h != 0 ||
         layer.zoneout_c != 0;
}
static inline int64_t saved_of(const sqk_layer &layer) {
  switch (cell_of(layer)) {
    case kNormLstm: return 14;           // see norm.h
    case SQK_LSTM: return 5;             // i f c o, and the previous cell state
    case SQK_GRU: return 3;              // z r h
    case SQK_GRU_RESET_AFTER: return 4;  // z r h, and the state's part of h
    default: return has_zoneout(layer);  // h as it would be without zoneout; otherwise it is y
  }
}

// The position in x of the timestep that is read as number t.
static inline int64_t position(const sqk_layer &layer, int64_t t) {
  return layer.go_backwards ? layer.timesteps - 1 - t : t;
}

// The part for a row of the batch at timestep t of flags (batch, timesteps, units), or null.
static inline const uint8_t *flags_at(const sqk_layer &layer, const uint8_t *flags, int64_t row,
                                      int64_t t) {
  if (!flags) return nullptr;
  return flags + (row * layer.timesteps + position(layer, t)) * layer.units;
}

static inline bool is_reset(const sqk_layer &layer, int64_t row, int64_t t) {
  return layer.reset && layer.reset[row * layer.reset_batch_stride + t * layer.reset_time_stride];
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
