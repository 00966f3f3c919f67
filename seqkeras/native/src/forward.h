// The forward loop: timestep after timestep, for the rows of one thread. Rows never wait for those
// of another thread, so there is no barrier within a sequence.
#pragma once

#include "norm.h"
#include "tile.h"

namespace SQK_ISA {

// Panels that a tile with few rows computes at once.
constexpr int panels_for(int rows) {
  return rows == 1 ? (kSums == 24 ? 4 : 2) : rows < 4 && kSums == 24 ? 2 : 1;
}

// Writes the bare sums to work[first + gate * padded units], for P panels from u on.
template <int P, int R>
SQK_INLINE void put(const Vec (&sum)[R][4 * P], const Row *rows, int64_t first, int64_t pad,
                    int64_t u) {
#pragma GCC unroll 32
  for (int r = 0; r < R; r++)
#pragma GCC unroll 32
    for (int v = 0; v < 4 * P; v++)
      store(rows[r].work + first + v % 4 * pad + (u + v / 4) * kLanes, sum[r][v]);
}

// One tile: the sums of R rows for P panels from u on, and their activations.
template <int CELL, int R, int P, bool DROP, bool HALF>
SQK_NOINLINE static void tile(const Packed<CELL> &weights, const Row *rows, int64_t u) {
  using F = Form<CELL>;
  Vec sum[R][4 * P];
#pragma GCC unroll 32
  for (int v = 0; v < 4 * P; v++) {
    const Vec bias = load(weights.bias(u) + v * kLanes);
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) sum[r][v] = F::kNorm ? Vec{} : bias;
  }
  Rows<R> x, h;
  GateRows<R> dropped;
#pragma GCC unroll 32
  for (int r = 0; r < R; r++) {
    x.row[r] = rows[r].x;
    h.row[r] = rows[r].factor;
    dropped.row[r] = rows[r].dropped;
  }
  const float *x_panel = weights.x_panel(u), *h_panel = weights.h_panel(u);
  const int64_t gap = weights.panel_size, pad = padded(weights.units);
  dropped.gap = F::kGates == 1 ? 0 : HALF ? pad / 2 : pad;  // the vectors of a panel are gates
  multiply<HALF, P, F::kX.count, F::kX.first>(sum, x, x_panel, gap, weights.x_depth);
  if constexpr (F::kNorm) {
    put<P>(sum, rows, 0, pad, u);
    clear(sum);
  }
  if constexpr (DROP)
    multiply<HALF, P, F::kH.count, F::kH.first>(sum, dropped, h_panel, gap, weights.h_depth);
  else
    multiply<HALF, P, F::kH.count, F::kH.first>(sum, h, h_panel, gap, weights.h_depth);
  if constexpr (F::kNorm) return put<P>(sum, rows, 4 * pad, pad, u);
  alignas(64) float sums[R * P * kPanel];
#pragma GCC unroll 32
  for (int r = 0; r < R; r++)
#pragma GCC unroll 32
    for (int v = 0; v < 4 * P; v++) store(sums + (r * 4 * P + v) * kLanes, sum[r][v]);
  finish<CELL>(weights, sums, rows, R, u, P);
}

// The GRU's second product, of r * h.
template <int R>
SQK_NOINLINE static void candidate_tile(const Packed<SQK_GRU> &weights, const Row *rows,
                                        int64_t u) {
  Vec sum[R][4];
  clear(sum);
  Rows<R> rh;
#pragma GCC unroll 32
  for (int r = 0; r < R; r++) rh.row[r] = rows[r].work + 2 * padded(weights.units);
  multiply<false, 1, 4>(sum, rh, weights.second_panel(u), 0, weights.units);
  alignas(64) float sums[R * kPanel];
#pragma GCC unroll 32
  for (int r = 0; r < R; r++)
#pragma GCC unroll 32
    for (int v = 0; v < 4; v++) store(sums + (r * 4 + v) * kLanes, sum[r][v]);
  finish_candidate(weights, sums, rows, R, u);
}

// R rows, all panels, P at a time as long as there are that many.
template <int CELL, int R, bool DROP, bool HALF>
static void few_rows(const Packed<CELL> &weights, const Row *rows) {
  constexpr int P = panels_for(R);
  int64_t u = 0;
  for (; u + P <= weights.panels; u += P) tile<CELL, R, P, DROP, HALF>(weights, rows, u);
  if constexpr (P == 4)
    for (; u + 2 <= weights.panels; u += 2) tile<CELL, R, 2, DROP, HALF>(weights, rows, u);
  if constexpr (P > 1)
    for (; u < weights.panels; u++) tile<CELL, R, 1, DROP, HALF>(weights, rows, u);
}

// All panels of all rows of a timestep. A panel stays in the L1 cache for all rows.
template <int CELL, bool DROP, bool HALF>
static void timestep(const Packed<CELL> &weights, const Row *rows, int64_t count) {
  switch (count) {
    case 1: few_rows<CELL, 1, DROP, HALF>(weights, rows); break;
    case 2: few_rows<CELL, 2, DROP, HALF>(weights, rows); break;
    case 3: few_rows<CELL, 3, DROP, HALF>(weights, rows); break;
    default:
      for (int64_t u = 0; u < weights.panels; u++)
        for_tiles<most_rows(4)>(count, [&](int64_t row, auto size) {
          tile<CELL, size.value, 1, DROP, HALF>(weights, rows + row, u);
        });
  }
  if constexpr (Form<CELL>::kNorm) finish_norm(weights, rows, count);
  if constexpr (CELL == SQK_GRU)
    for (int64_t u = 0; u < weights.second_panels; u++)
      for_tiles<most_rows(4)>(count, [&](int64_t row, auto size) {
        candidate_tile<size.value>(weights, rows + row, u);
      });
}

// Rows of one loop over time: few enough for their states to stay in the L2 cache.
constexpr int64_t kGroup = 64;

SQK_INLINE const float *row_of(const float *array, int64_t row, int64_t units, const float *zeros) {
  return array ? array + row * units : zeros;
}

// Memory of a group of rows.
struct ForwardMemory {
  Row *rows;            // those that are not masked at this timestep
  int64_t *active;      // which rows of the group these are
  const float **h;      // state of each row of the group
  const float **shown;  // what y holds if masked
  float *c, *dropped, *work, *zeros;
  float *halves;  // bfloat16 words of each row: x, then h, or h after recurrent dropout
  float *turns;  // states if there is no y: two for each row, used in turns
};

template <int CELL>
static int64_t halves_of(const sqk_layer &layer) {
  return (padded(layer.features) + Form<CELL>::kGates * padded(layer.units)) / 2;
}

template <int CELL, bool HALF>
static ForwardMemory forward_memory(const Call &call, Arena &arena, int64_t rows) {
  const sqk_layer &layer = call.layer;
  const int64_t pad = padded(layer.units);
  ForwardMemory m;
  m.rows = arena.take_array<Row>(rows);
  m.active = arena.take_array<int64_t>(rows);
  m.h = arena.take_array<const float *>(rows);
  m.shown = arena.take_array<const float *>(rows);
  m.c = arena.take(Form<CELL>::kHasC ? rows * pad : 0);
  m.dropped = arena.take(layer.recurrent_dropout ? rows * Form<CELL>::kGates * pad : 0);
  m.work = arena.take(rows * Form<CELL>::kWork * pad);
  m.halves = arena.take(HALF ? rows * halves_of<CELL>(layer) : 0);
  m.turns = arena.take(call.outputs.y ? 0 : 2 * rows * pad);
  m.zeros = arena.take(pad);
  if (!arena.failed()) fill(m.zeros, 0, pad);
  return m;
}

template <int CELL>
static void begin(const Call &call, const ForwardMemory &m, int64_t first, int64_t rows) {
  const sqk_layer &layer = call.layer;
  const int64_t units = layer.units, pad = padded(units);
  for (int64_t r = 0; r < rows; r++) {
    m.h[r] = row_of(layer.h0, first + r, units, m.zeros);
    m.shown[r] = layer.masked_output == SQK_HOLD_STATE ? m.h[r] : m.zeros;
    if (!Form<CELL>::kHasC) continue;
    fill(m.c + r * pad, 0, pad);
    copy(m.c + r * pad, row_of(layer.c0, first + r, units, m.zeros), units);
  }
}

// The rows that are not masked at timestep t; y of those that are.
template <int CELL>
static int64_t gather(const Call &call, const ForwardMemory &m, int64_t first, int64_t rows,
                      int64_t t) {
  const sqk_layer &layer = call.layer;
  const sqk_outputs &to = call.outputs;
  const int64_t units = layer.units, pad = padded(units), timesteps = layer.timesteps;
  int64_t count = 0;
  for (int64_t r = 0; r < rows; r++) {
    const int64_t b = first + r;
    if (is_reset(layer, b, t)) {
      m.h[r] = m.shown[r] = m.zeros;
      if (Form<CELL>::kHasC) fill(m.c + r * pad, 0, pad);
    }
    float *y = to.y ? to.y + b * to.y_batch_stride + t * to.y_time_stride : nullptr;
    if (layer.mask && !layer.mask[b * layer.mask_batch_stride + t * layer.mask_time_stride]) {
      if (layer.masked_output == SQK_ZERO) m.shown[r] = m.zeros;
      if (y) copy(y, m.shown[r], units);
      continue;
    }
    Row &row = m.rows[count];
    row.x = layer.x + b * layer.x_batch_stride + t * layer.x_time_stride;
    row.h = row.factor = m.h[r];
    float *turns = m.turns + r * 2 * pad;
    row.h_out = y ? y : row.h == turns ? turns + pad : turns;
    row.c = m.c + r * pad;
    row.save = to.workspace
                   ? to.workspace + (b * timesteps + t) * saved_of(layer) * pad
                   : nullptr;
    row.work = m.work + r * Form<CELL>::kWork * pad;
    if (Form<CELL>::kNorm && row.save) row.work = row.save + kSavedNormals * pad;
    row.keep_h = flags_at(layer, layer.zoneout_h_mask, b, t);
    row.keep_c = flags_at(layer, layer.zoneout_c_mask, b, t);
    row.dropped = row.factors = nullptr;
    if (layer.recurrent_dropout) {
      float *dropped = m.dropped + r * Form<CELL>::kGates * pad;
      row.dropped = dropped;
      for (int64_t gate = 0; gate < Form<CELL>::kGates; gate++, dropped += pad) {
        row.factors = layer.recurrent_dropout + (gate * layer.batch + b) * units;
        for (int64_t unit = 0; unit < units; unit += kLanes) {
          const int64_t lanes = lanes_at(unit, units);
          store(dropped + unit,
                load_some(row.h + unit, lanes) * load_some(row.factors + unit, lanes));
        }
      }
    }
    m.active[count++] = r;
  }
  return count;
}

template <int CELL>
static void end(const Call &call, const ForwardMemory &m, int64_t first, int64_t rows) {
  const sqk_outputs &to = call.outputs;
  const int64_t units = call.layer.units, pad = padded(units);
  for (int64_t r = 0; r < rows; r++) {
    const int64_t at = (first + r) * units;
    if (to.last) copy(to.last + at, m.shown[r], units);
    if (to.h_n) copy(to.h_n + at, m.h[r], units);
    if (Form<CELL>::kHasC && to.c_n) copy(to.c_n + at, m.c + r * pad, units);
  }
}

// The factors of a row's products, in bfloat16.
template <int CELL>
static void halve(const sqk_layer &layer, Row &row, float *to) {
  const int64_t pad = padded(layer.units);
  store_halves(to, row.x, layer.features);
  row.x = to;
  to += padded(layer.features) / 2;
  if (row.dropped) {
    store_halves(to, row.dropped, Form<CELL>::kGates * pad);
    row.dropped = to;
  } else {
    store_halves(to, row.h, layer.units);
    row.factor = to;
  }
}

template <int CELL, bool HALF>
static bool forward(const Call &call, const float *packed, Arena &arena, int64_t first,
                    int64_t last) {
  const Packed<CELL> weights(call.layer, packed);
  const ForwardMemory m = forward_memory<CELL, HALF>(call, arena, minimum(kGroup, last - first));
  if (arena.failed()) return false;
  for (int64_t rows; first < last; first += rows) {
    rows = minimum(kGroup, last - first);
    begin<CELL>(call, m, first, rows);
    for (int64_t t = 0; t < call.layer.timesteps; t++) {
      const int64_t count = gather<CELL>(call, m, first, rows, t);
      for (int64_t i = 0; HALF && i < count; i++)
        halve<CELL>(call.layer, m.rows[i], m.halves + i * halves_of<CELL>(call.layer));
      if (call.layer.recurrent_dropout)
        timestep<CELL, true, HALF>(weights, m.rows, count);
      else
        timestep<CELL, false, HALF>(weights, m.rows, count);
      for (int64_t i = 0; i < count; i++) m.h[m.active[i]] = m.shown[m.active[i]] = m.rows[i].h_out;
    }
    end<CELL>(call, m, first, rows);
  }
  return true;
}

// One timestep from packed weights. New states go to memory of this thread first, because h_out may
// be h and other panels still read h.
template <int CELL>
static bool step(const sqk_layer &layer, const float *packed, Arena &arena, int64_t count,
                 const float *x, const float *h, const float *c, float *h_out, float *c_out) {
  const Packed<CELL> weights(layer, packed);
  const int64_t units = layer.units, pad = padded(units);
  const int64_t most = minimum(count, kGroup);
  Row *rows = arena.take_array<Row>(most);
  float *fresh = arena.take(most * pad), *carry = arena.take(most * pad);
  float *work = arena.take(most * Form<CELL>::kWork * pad);
  if (arena.failed()) return false;
  for (int64_t first = 0, n; first < count; first += n) {
    n = minimum(kGroup, count - first);
    for (int64_t r = 0; r < n; r++) {
      const int64_t at = (first + r) * units;
      float *carried = carry + r * pad;
      rows[r] = {};
      rows[r].x = x + (first + r) * layer.features;
      rows[r].h = rows[r].factor = h + at;
      rows[r].h_out = fresh + r * pad;
      rows[r].c = carried;
      rows[r].work = work + r * Form<CELL>::kWork * pad;
      if (Form<CELL>::kHasC)
        for (int64_t unit = 0; unit < units; unit += kLanes)
          store(carried + unit, load_some(c + at + unit, lanes_at(unit, units)));
    }
    timestep<CELL, false, false>(weights, rows, n);
    for (int64_t r = 0; r < n; r++) {
      copy(h_out + (first + r) * units, fresh + r * pad, units);
      if (Form<CELL>::kHasC) copy(c_out + (first + r) * units, carry + r * pad, units);
    }
  }
  return true;
}

}  // namespace SQK_ISA
