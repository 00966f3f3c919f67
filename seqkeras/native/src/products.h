// The two kinds of products of backward: with transposed weights, for gradients to states and
// inputs; and with transposed inputs, for gradients to weights. In both, `d` is the gradient to the
// sums of a block of rows, [panel][row][4 vectors].
#pragma once

#include "tile.h"
#include "weights.h"

namespace SQK_ISA {

// to[r] (+)= d W^T [* factors[r]] for one tile; `d` points at the tile's first row in panel 0.
struct BackProduct {
  const float *d;        // [panel][rows][4 vectors]
  int64_t gap;           // between panels of d
  int64_t first, depth;  // the floats of a row of a panel that the product reads
  const float *weights;
  int64_t weights_gap;  // between panels of the weights, for one vector of outputs
  float *const *to;
  const float *const *factors;  // or null
  bool add;
};

template <bool HALF, int R, int V>
SQK_NOINLINE static void back_tile(const BackProduct &p, int64_t row, int64_t panels,
                                   int64_t column, int64_t columns) {
  Vec sum[R][V];
  clear(sum);
  constexpr int64_t kRow = HALF ? kPanel / 2 : kPanel;
  const float *d = p.d + row * kRow + p.first, *weights = p.weights;
  for (int64_t u = 0; u < panels; u++, d += p.gap, weights += p.weights_gap * V)
    multiply<HALF, 1, V>(sum, Block<R, kRow>{d}, weights, 0, p.depth);
#pragma GCC unroll 32
  for (int r = 0; r < R; r++)
#pragma GCC unroll 32
    for (int v = 0; v < V; v++) {
      const int64_t lanes = lanes_at(v * kLanes, columns);
      float *to = p.to[row + r] + column + v * kLanes;
      Vec value = sum[r][v];
      if (p.factors) value *= load_some(p.factors[row + r] + column + v * kLanes, lanes);
      if (p.add) value += load_some(to, lanes);
      store_some(to, value, lanes);
    }
}

// A product of `count` rows of d with transposed weights; `part` of the columns that were packed.
template <bool HALF>
static void back_product(BackProduct p, const Transposed &weights, const float *packed,
                         Product packed_columns, Product part, int64_t count) {
  const int64_t vector = weights.vector;
  p.first = part.first * vector;
  p.depth = part.count * vector;
  p.weights_gap = packed_columns.count * vector * kLanes;
  const int64_t skipped = (part.first - packed_columns.first) * vector * kLanes;
  const float *panel = packed + weights.offset;
  for (int64_t column = 0; column < weights.outputs; column += kPanel) {
    const int64_t columns = minimum(kPanel, weights.outputs - column);
    const auto tiles = [&](auto vectors) {
      constexpr int V = vectors.value;
      p.weights = panel + skipped * V;
      for_tiles<most_rows(V)>(count, [&](int64_t row, auto size) {
        back_tile<HALF, size.value, V>(p, row, weights.panels, column, columns);
      });
      panel += weights.depth() * V * kLanes;
    };
    with_constant<4>((columns + kLanes - 1) / kLanes, tiles);
  }
}

// to[row of a][V vectors] += a^T d, for R rows and the columns that `d` points at.
template <bool HALF, int R, int V>
SQK_NOINLINE static void weight_tile(const float *a, int64_t ld, const float *d, int64_t count,
                                     float *to, int64_t to_ld) {
  Vec sum[R][V];
  clear(sum);
  multiply_strided<HALF, V>(sum, Columns<R>{a, ld}, d, kPanel, count);
#pragma GCC unroll 32
  for (int r = 0; r < R; r++)
#pragma GCC unroll 32
    for (int v = 0; v < V; v++) {
      float *at = to + r * to_ld + v * kLanes;
      store(at, load(at) + sum[r][v]);
    }
}

// Copies rows of an input next to one another, in the order of the rows of d. Their distance is an
// odd number of cache lines: a column of a block then uses all sets of the cache, not just a few.
struct Inputs {
  float *memory;
  int64_t ld;
};

// Rows 2 k and 2 k + 1 become row k, in words of bfloat16; the last row may have no partner.
static void pair_rows(float *memory, int64_t ld, int64_t width, int64_t count) {
  for (int64_t k = 0; k < count; k += 2)
    for (int64_t at = 0; at < width; at += kLanes) {
      const float *low = memory + k * ld + at;
      store(memory + k / 2 * ld + at, paired(load(low), k + 1 < count ? load(low + ld) : Vec{}));
    }
}

SQK_INLINE int64_t input_ld(int64_t width) { return (width / 16 | 1) * 16 + (width % 16 ? 32 : 0); }

template <bool HALF, int V>
static void weight_product(const Inputs &a, const float *d, int64_t gap, int64_t count, float *sums,
                           const Sums &sum, Product part, int64_t skipped) {
  for (int64_t u = 0; u < sum.panels; u++)
    for_tiles<most_rows(V)>(sum.rows, [&](int64_t row, auto size) {
      weight_tile<HALF, size.value, V>(a.memory + row, a.ld, d + u * gap + part.first * kLanes,
                                       count, sums + sum.at(u, row) + skipped * kLanes,
                                       sum.row_size());
    });
}

}  // namespace SQK_ISA
