// Matrix products on tiles of registers: R rows times V vectors, summed over `depth` terms,
//
//     sum[r][v] += a(r, k) * b[k][v].
//
// All products of the library are made of these loops. With HALF each float of a and b is a word of
// two bfloat16, the factors for 2 k and 2 k + 1, and `depth` counts words. Each sum runs over k in
// order, one fused multiply-add a term, whatever R and V are: a row has the same bits in any tile,
// so the split of a batch into threads and tiles cannot be seen in the result.
#pragma once

#include "vec.h"

namespace SQK_ISA {

// Registers for sums: 24 of 32 (AVX-512, NEON) or 12 of 16; the others hold b and one factor of a.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kSums = 24;
#else
constexpr int kSums = 12;
#endif

// Where the factors a(r, k) are. `gate` is v where each gate has its own.

template <int R>
struct Rows {  // row r begins at row[r]
  const float *row[R];
  SQK_INLINE_MEMBER float at(int r, int, int64_t k) const { return row[r][k]; }
};

template <int R>
struct GateRows {  // the same, and each gate has its own copy of the row, `gap` floats on
  const float *row[R];
  int64_t gap;
  SQK_INLINE_MEMBER float at(int r, int gate, int64_t k) const { return row[r][gate * gap + k]; }
};

template <int R, int64_t LD>
struct Block {  // rows LD floats apart
  const float *first;
  SQK_INLINE_MEMBER float at(int r, int, int64_t k) const { return first[r * LD + k]; }
};

template <int R>
struct Columns {  // transposed: the factors of one k are together, the next k is `ld` floats on
  const float *first;
  int64_t ld;
  SQK_INLINE_MEMBER float at(int r, int, int64_t k) const { return first[k * ld + r]; }
};

template <bool HALF>
SQK_INLINE Vec multiply_add(Vec sum, float a, Vec b) {
  if constexpr (HALF) return add_products_of_halves(sum, a, b);
  return sum + a * b;
}

template <int R, int V>
SQK_INLINE void clear(Vec (&sum)[R][V]) {
#pragma GCC unroll 32
  for (int r = 0; r < R; r++)
#pragma GCC unroll 32
    for (int v = 0; v < V; v++) sum[r][v] = Vec{};
}

// P panels of V vectors each, `gap` floats apart: several where there are few rows, so that there
// are enough independent sums to keep the multipliers busy. In a panel the vectors for k + 1 follow
// those for k. The product goes to the sums FIRST .. FIRST + V of each panel's.
template <bool HALF, int P, int V, int FIRST = 0, int R, int S, class A>
SQK_INLINE void multiply(Vec (&sum)[R][S], const A &a, const float *b, int64_t gap, int64_t depth) {
  constexpr int kPerPanel = S / P;
  for (int64_t k = 0; k < depth; k++, b += V * kLanes) {
#pragma GCC unroll 32
    for (int p = 0; p < P; p++) {
      Vec row[V];
#pragma GCC unroll 32
      for (int v = 0; v < V; v++) row[v] = load(b + p * gap + v * kLanes);
#pragma GCC unroll 32
      for (int r = 0; r < R; r++)
#pragma GCC unroll 32
        for (int v = 0; v < V; v++) {
          Vec &to = sum[r][p * kPerPanel + FIRST + v];
          to = multiply_add<HALF>(to, a.at(r, v, k), row[v]);
        }
    }
  }
}

// One panel, whose vectors for k + 1 are `ld` floats on.
template <bool HALF, int V, int R, class A>
SQK_INLINE void multiply_strided(Vec (&sum)[R][V], const A &a, const float *b, int64_t ld,
                                 int64_t depth) {
  for (int64_t k = 0; k < depth; k++, b += ld) {
    Vec row[V];
#pragma GCC unroll 32
    for (int v = 0; v < V; v++) row[v] = load(b + v * kLanes);
#pragma GCC unroll 32
    for (int r = 0; r < R; r++)
#pragma GCC unroll 32
      for (int v = 0; v < V; v++) sum[r][v] = multiply_add<HALF>(sum[r][v], a.at(r, v, k), row[v]);
  }
}

// Tiles are compiled for 1 .. 6, 8 and 12 rows, as far as there are registers. `tile_rows` is the
// next of these for `left` rows, so that tiles are about even: 16 rows are 6 + 5 + 5, not
// 6 + 6 + 4.
SQK_INLINE int64_t tile_rows(int64_t left, int64_t most) {
  const int64_t tiles = (left + most - 1) / most;
  const int64_t rows = (left + tiles - 1) / tiles;
  if (rows == 7) return 6;
  return rows > 8 && rows < 12 ? 8 : rows;
}

template <int N>
struct Constant {
  static constexpr int value = N;
};

// call(Constant<n>), for a number that tile_rows gives.
template <int MOST, class Call>
SQK_INLINE void with_constant(int64_t rows, const Call &call) {
  if (rows == 1) return call(Constant<1>{});
  if (rows == 2) return call(Constant<2>{});
  if (rows == 3) return call(Constant<3>{});
  if constexpr (MOST >= 4)
    if (rows == 4) return call(Constant<4>{});
  if constexpr (MOST >= 6) {
    if (rows == 5) return call(Constant<5>{});
    if (rows == 6) return call(Constant<6>{});
  }
  if constexpr (MOST >= 8)
    if (rows == 8) return call(Constant<8>{});
  if constexpr (MOST >= 12)
    if (rows == 12) return call(Constant<12>{});
}

// Most rows of a tile of V vectors.
constexpr int most_rows(int V) { return V == 4 ? kSums / 4 : V == 3 ? kSums / 3 : kSums / 2; }

// call(row, Constant<rows>) for the tiles that make up `count` rows.
template <int MOST, class Call>
SQK_INLINE void for_tiles(int64_t count, const Call &call) {
  for (int64_t row = 0, rows; row < count; row += rows) {
    rows = tile_rows(count - row, MOST);
    with_constant<MOST>(rows, [&](auto size) { call(row, size); });
  }
}

}  // namespace SQK_ISA
