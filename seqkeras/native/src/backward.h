// The way back through time, in blocks of timesteps.
//
// Within a block, the gradient `d` to the sums of each timestep goes to a buffer that stays in the
// cache. When the block is done, the buffer is read as one matrix: weight gradients are x^T d and
// h^T d, and the gradient to x is d W^T. So weights and sums of their gradients are read once for a
// block and not once for a timestep. Only timesteps that are not masked have a row in the block:
// what x holds at the others, NaN even, is never read.
#pragma once

#include "forward.h"

namespace SQK_ISA {

// Rows of a block: d of one panel, 32 KB with AVX-512, and as many rows of h fit the first cache.
constexpr int64_t kBlock = 128;

// Most rows of a tile of V vectors.
constexpr int most_rows(int V) { return V == 4 ? kSums / 4 : V == 3 ? kSums / 3 : kSums / 2; }

// to[r] (+)= d W^T [* factors[r]] for one tile; `d` points at the tile's first row in panel 0.
struct BackProduct {
  const float *d;   // [panel][rows][4 vectors]
  int64_t gap;      // between panels of d
  int64_t first;    // column of d, in floats, and how many the product reads
  int64_t depth;
  const float *weights;
  int64_t weights_gap;  // between panels of the weights, for one vector of outputs
  float *const *to;
  const float *const *factors;  // or null
  bool add;
};

template <int R, int V>
SQK_NOINLINE static void back_tile(const BackProduct &p, int64_t row, int64_t panels,
                                   int64_t column, int64_t columns) {
  Vec sum[R][V];
  clear(sum);
  const float *d = p.d + row * kPanel + p.first, *weights = p.weights;
  for (int64_t u = 0; u < panels; u++, d += p.gap, weights += p.weights_gap * V)
    multiply<1, V>(sum, Block<R, kPanel>{d}, weights, 0, p.depth);
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

template <int V>
SQK_INLINE void back_tile_of(int64_t count, const BackProduct &p, int64_t row, int64_t panels,
                             int64_t column, int64_t columns) {
  switch (count) {
    case 1: return back_tile<1, V>(p, row, panels, column, columns);
    case 2: return back_tile<2, V>(p, row, panels, column, columns);
    case 3: return back_tile<3, V>(p, row, panels, column, columns);
  }
  if constexpr (most_rows(V) >= 6) switch (count) {
      case 4: return back_tile<4, V>(p, row, panels, column, columns);
      case 5: return back_tile<5, V>(p, row, panels, column, columns);
      case 6: return back_tile<6, V>(p, row, panels, column, columns);
    }
  else if constexpr (most_rows(V) == 4) return back_tile<4, V>(p, row, panels, column, columns);
  if constexpr (most_rows(V) >= 8)
    if (count == 8) return back_tile<8, V>(p, row, panels, column, columns);
  if constexpr (most_rows(V) == 12)
    if (count == 12) return back_tile<12, V>(p, row, panels, column, columns);
}

// A product of `count` rows of d with transposed weights; `part` of the columns that were packed.
static void back_product(BackProduct p, const Transposed &weights, const float *packed,
                         Product packed_columns, Product part, int64_t count) {
  p.first = part.first * kLanes;
  p.depth = part.count * kLanes;
  p.weights_gap = packed_columns.count * kLanes * kLanes;
  const int64_t skipped = (part.first - packed_columns.first) * kLanes * kLanes;
  const float *panel = packed + weights.offset;
  for (int64_t column = 0; column < weights.outputs; column += kPanel) {
    const int64_t columns = minimum(kPanel, weights.outputs - column);
    const int V = static_cast<int>((columns + kLanes - 1) / kLanes);
    p.weights = panel + skipped * V;
    for (int64_t row = 0, size; row < count; row += size) {
      size = tile_rows(count - row, most_rows(V));
      if (V == 4) back_tile_of<4>(size, p, row, weights.panels, column, columns);
      if (V == 3) back_tile_of<3>(size, p, row, weights.panels, column, columns);
      if (V == 2) back_tile_of<2>(size, p, row, weights.panels, column, columns);
      if (V == 1) back_tile_of<1>(size, p, row, weights.panels, column, columns);
    }
    panel += weights.depth() * V * kLanes;
  }
}

// to[row of a][V vectors] += a^T d, for R rows and the columns that `d` points at.
template <int R, int V>
SQK_NOINLINE static void weight_tile(const float *a, int64_t ld, const float *d, int64_t count,
                                     float *to, int64_t to_ld) {
  Vec sum[R][V];
  clear(sum);
  multiply_strided<V>(sum, Columns<R>{a, ld}, d, kPanel, count);
#pragma GCC unroll 32
  for (int r = 0; r < R; r++)
#pragma GCC unroll 32
    for (int v = 0; v < V; v++) {
      float *at = to + r * to_ld + v * kLanes;
      store(at, load(at) + sum[r][v]);
    }
}

template <int V>
SQK_INLINE void weight_tile_of(int64_t rows, const float *a, int64_t ld, const float *d,
                               int64_t count, float *to, int64_t to_ld) {
  switch (rows) {
    case 1: return weight_tile<1, V>(a, ld, d, count, to, to_ld);
    case 2: return weight_tile<2, V>(a, ld, d, count, to, to_ld);
    case 3: return weight_tile<3, V>(a, ld, d, count, to, to_ld);
  }
  if constexpr (most_rows(V) >= 6) switch (rows) {
      case 4: return weight_tile<4, V>(a, ld, d, count, to, to_ld);
      case 5: return weight_tile<5, V>(a, ld, d, count, to, to_ld);
      case 6: return weight_tile<6, V>(a, ld, d, count, to, to_ld);
    }
  else if constexpr (most_rows(V) == 4) return weight_tile<4, V>(a, ld, d, count, to, to_ld);
  if constexpr (most_rows(V) >= 8)
    if (rows == 8) return weight_tile<8, V>(a, ld, d, count, to, to_ld);
  if constexpr (most_rows(V) == 12)
    if (rows == 12) return weight_tile<12, V>(a, ld, d, count, to, to_ld);
}

// Rows of an input, in the order of the rows of d, next to one another. The distance is an odd
// number of cache lines: a column of a block then lies in all sets of the cache, not in a few.
struct Inputs {
  float *memory;
  int64_t ld;
};

SQK_INLINE int64_t input_ld(int64_t width) { return (width / 16 | 1) * 16 + (width % 16 ? 32 : 0); }

template <int V>
static void weight_product(const Inputs &a, const float *d, int64_t gap, int64_t count, float *sums,
                           const Sums &sum, Product part, int64_t skipped) {
  for (int64_t u = 0; u < sum.panels; u++)
    for (int64_t row = 0, size; row < sum.rows; row += size) {
      size = tile_rows(sum.rows - row, most_rows(V));
      weight_tile_of<V>(size, a.memory + row, a.ld, d + u * gap + part.first * kLanes, count,
                        sums + sum.at(u, row) + skipped * kLanes, sum.row_size());
    }
}

// Memory of a thread for a group of rows and a block of timesteps.
struct BackwardMemory {
  BackRow *rows;        // of a timestep
  float **dh_rows;      // their dh, and dx of all rows of the block
  float **dx_rows, **second_rows;
  const float **factors;  // of recurrent dropout: [gate][row of the group]
  const float **active_factors;
  const float **x, **h, **resets;  // inputs of all rows of the block, and gate r of a GRU
  int64_t *owner;         // row of the group of each row of the block
  int32_t *before;        // [row of the group][timestep]: the last one not masked, or -1
  float *dh, *dc, *d, *second, *zeros;
  Inputs inputs;
  int64_t capacity;  // rows of a block
};

template <int CELL>
static BackwardMemory backward_memory(const Call &call, Arena &arena, int64_t rows) {
  using F = Form<CELL>;
  const sqk_layer &layer = call.layer;
  const int64_t pad = padded(layer.units), panels = F::panels(layer.units);
  BackwardMemory m;
  const int64_t capacity = m.capacity =
      minimum(maximum(kBlock, rows), rows * maximum(layer.timesteps, 1));
  m.rows = arena.take_array<BackRow>(rows);
  m.dh_rows = arena.take_array<float *>(rows);
  m.second_rows = arena.take_array<float *>(rows);
  m.dx_rows = arena.take_array<float *>(capacity);
  m.factors = arena.take_array<const float *>(F::kGates * rows);
  m.active_factors = arena.take_array<const float *>(rows);
  m.x = arena.take_array<const float *>(capacity);
  m.h = arena.take_array<const float *>(capacity);
  m.resets = arena.take_array<const float *>(capacity);
  m.owner = arena.take_array<int64_t>(capacity);
  m.before = layer.mask ? arena.take_array<int32_t>(rows * layer.timesteps) : nullptr;
  m.dh = arena.take(rows * pad);
  m.dc = arena.take(F::kHasC ? rows * pad : 0);
  m.second = arena.take(F::kSecond ? rows * pad : 0);
  m.d = arena.take(panels * capacity * kPanel);
  m.zeros = arena.take(pad);
  m.inputs.ld = input_ld(maximum(layer.features, layer.units) + 1);
  m.inputs.memory = arena.take(capacity * m.inputs.ld);
  if (!arena.failed()) fill(m.zeros, 0, pad);
  return m;
}

template <int CELL>
class Backward {
  using F = Form<CELL>;
  const Call &call;
  const sqk_layer &layer;
  const sqk_outputs &from;
  const sqk_gradients &grad;
  const float *packed;
  float *sums;
  const BackwardMemory &m;
  const PackedBack<CELL> weights;
  const AllSums<CELL> all_sums;
  const int64_t units, pad, timesteps, gap;
  int64_t first = 0, group = 0;  // rows of the batch at work

  bool masked(int64_t r, int64_t t) const {
    return layer.mask &&
           !layer.mask[(first + r) * layer.mask_batch_stride + t * layer.mask_time_stride];
  }

  const float *y(int64_t r, int64_t t) const {
    return from.y + (first + r) * from.y_batch_stride + t * from.y_time_stride;
  }

  // The timestep before t that was not masked, or -1.
  int64_t before(int64_t r, int64_t t) const {
    return m.before ? m.before[r * timesteps + t] : t - 1;
  }

  const float *state_before(int64_t r, int64_t t) const {
    const int64_t last = before(r, t);
    return last >= 0 ? y(r, last) : row_of(layer.h0, first + r, units, m.zeros);
  }

  void add(float *to, const float *more) const {
    for (int64_t unit = 0; unit < units; unit += kLanes)
      store(to + unit, load(to + unit) + load_some(more + unit, lanes_at(unit, units)));
  }

  // A gradient to what y shows at a masked timestep: it belongs to the state, if that is shown.
  void add_masked(int64_t r, int64_t t, const float *dy) const {
    if (layer.masked_output == SQK_ZERO) return;
    if (layer.masked_output == SQK_HOLD_STATE || before(r, t) >= 0) add(m.dh + r * pad, dy);
  }

  void begin() const {
    for (int64_t r = 0; r < group; r++) {
      const int64_t b = first + r;
      fill(m.dh + r * pad, 0, pad);
      if (grad.dh_n) copy(m.dh + r * pad, grad.dh_n + b * units, units);
      if (F::kHasC) fill(m.dc + r * pad, 0, pad);
      if (F::kHasC && grad.dc_n) copy(m.dc + r * pad, grad.dc_n + b * units, units);
      if (layer.recurrent_dropout)
        for (int64_t gate = 0; gate < F::kGates; gate++)
          m.factors[gate * group + r] =
              layer.recurrent_dropout + (gate * layer.batch + b) * units;
      if (m.before)
        for (int64_t t = 0, last = -1; t < timesteps; t++) {
          m.before[r * timesteps + t] = static_cast<int32_t>(last);
          if (!masked(r, t)) last = t;
        }
      if (!grad.dlast || !timesteps) continue;
      if (masked(r, timesteps - 1))
        add_masked(r, timesteps - 1, grad.dlast + b * units);
      else
        add(m.dh + r * pad, grad.dlast + b * units);
    }
  }

  // The rows not masked at timestep t become rows `used` and following of the block.
  int64_t gather(int64_t t, int64_t used) const {
    int64_t count = 0;
    for (int64_t r = 0; r < group; r++) {
      const int64_t b = first + r;
      const float *dy =
          grad.dy ? grad.dy + b * grad.dy_batch_stride + t * grad.dy_time_stride : nullptr;
      float *dx = grad.dx ? grad.dx + b * grad.dx_batch_stride + t * grad.dx_time_stride : nullptr;
      if (masked(r, t)) {
        if (dy) add_masked(r, t, dy);
        if (dx) fill(dx, 0, layer.features);
        continue;
      }
      const int64_t at = used + count;
      BackRow &row = m.rows[count];
      row.h = m.h[at] = state_before(r, t);
      row.h_after = y(r, t);
      row.save = from.workspace + (b * timesteps + t) * F::kSaved * pad;
      row.dy = dy;
      row.factors = layer.recurrent_dropout ? m.factors[(F::kGates - 1) * group + r] : nullptr;
      row.dh = m.dh_rows[count] = m.dh + r * pad;
      row.dc = F::kHasC ? m.dc + r * pad : nullptr;
      row.d = m.d + at * kPanel;
      row.second = F::kSecond ? m.second + count * pad : nullptr;
      m.second_rows[count] = row.second;
      m.x[at] = layer.x + b * layer.x_batch_stride + t * layer.x_time_stride;
      m.dx_rows[at] = dx;
      m.resets[at] = row.save + pad;
      m.owner[at] = r;
      count++;
    }
    return count;
  }

  // One timestep: d of its rows, and the gradient to the states before it.
  void timestep(int64_t t, int64_t used, int64_t count) const {
    back_rows<CELL>(m.rows, count, gap, layer);
    BackProduct p = {};
    p.d = m.d + used * kPanel;
    p.gap = gap;
    if constexpr (F::kSecond) {
      p.to = m.second_rows;
      back_product(p, weights.second, packed, F::kCandidate, F::kCandidate, count);
      back_rows_after_second(m.rows, count, gap, layer);
    }
    if (t == 0 && !grad.dh0) return;
    p.to = m.dh_rows;
    p.add = true;
    if (!layer.recurrent_dropout) {
      back_product(p, weights.h, packed, F::kH, F::kH, count);
      return;
    }
    p.factors = m.active_factors;
    for (int gate = 0; gate < F::kH.count && gate < F::kGates; gate++) {
      for (int64_t i = 0; i < count; i++)
        m.active_factors[i] = m.factors[gate * group + m.owner[used + i]];
      const Product part = CELL == SQK_SIMPLE_RNN ? F::kH : Product{F::kH.first + gate, 1};
      back_product(p, weights.h, packed, F::kH, part, count);
    }
  }

  // Gradients of all weights and of x from the rows of a block.
  void finish_block(int64_t used) const {
    if (grad.dx) {
      BackProduct p = {};
      p.d = m.d;
      p.gap = gap;
      p.to = m.dx_rows;
      back_product(p, weights.x, packed, F::kX, F::kX, used);
    }
    if (!sums) return;
    for (int64_t k = 0; k < used; k++) {
      float *input = m.inputs.memory + k * m.inputs.ld;
      copy(input, m.x[k], layer.features);
      input[layer.features] = 1;
    }
    weight_product<F::kX.count>(m.inputs, m.d, gap, used, sums, all_sums.x, F::kX, 0);
    if (layer.recurrent_dropout)
      dropped_weights(used);
    else {
      gather_states(used, nullptr);
      weight_product<F::kH.count>(m.inputs, m.d, gap, used, sums, all_sums.h, F::kH, 0);
    }
    if constexpr (F::kSecond) {
      gather_states(used, layer.recurrent_dropout ? m.factors + 2 * group : nullptr);
      reset_states(used);
      weight_product<1>(m.inputs, m.d, gap, used, sums, all_sums.second, F::kCandidate, 0);
    }
  }

  // Each gate has seen its own copy of h.
  void dropped_weights(int64_t used) const {
    for (int gate = 0; gate < F::kH.count && gate < F::kGates; gate++) {
      gather_states(used, m.factors + gate * group);
      if constexpr (CELL == SQK_SIMPLE_RNN)
        weight_product<4>(m.inputs, m.d, gap, used, sums, all_sums.h, F::kH, 0);
      else
        weight_product<1>(m.inputs, m.d, gap, used, sums, all_sums.h, {F::kH.first + gate, 1},
                          gate);
    }
  }

  void gather_states(int64_t used, const float *const *factors) const {
    for (int64_t k = 0; k < used; k++) {
      float *input = m.inputs.memory + k * m.inputs.ld;
      if (factors) {
        const float *factor = factors[m.owner[k]];
        for (int64_t unit = 0; unit < units; unit += kLanes) {
          const int64_t lanes = lanes_at(unit, units);
          store_some(input + unit, load_some(m.h[k] + unit, lanes) * load_some(factor + unit, lanes),
                     lanes);
        }
      } else {
        copy(input, m.h[k], units);
      }
      input[units] = 1;
    }
  }

  // h becomes r * h, which the GRU's candidate has seen; r is taken from the workspace.
  void reset_states(int64_t used) const {
    for (int64_t k = 0; k < used; k++) {
      float *input = m.inputs.memory + k * m.inputs.ld;
      const float *r = m.resets[k];
      for (int64_t unit = 0; unit < units; unit += kLanes) {
        const int64_t lanes = lanes_at(unit, units);
        store_some(input + unit, load_some(input + unit, lanes) * load(r + unit), lanes);
      }
    }
  }

 public:
  Backward(const Call &call, const float *packed, float *sums, const BackwardMemory &memory)
      : call(call), layer(call.layer), from(call.outputs), grad(call.gradients), packed(packed),
        sums(sums), m(memory), weights(call.layer), all_sums(call.layer), units(layer.units),
        pad(padded(units)), timesteps(layer.timesteps), gap(memory.capacity * kPanel) {}

  void run(int64_t first_row, int64_t rows) {
    first = first_row;
    group = rows;
    begin();
    int64_t used = 0;
    for (int64_t t = timesteps - 1; t >= 0; t--) {
      if (used + group > m.capacity) {
        finish_block(used);
        used = 0;
      }
      const int64_t count = gather(t, used);
      timestep(t, used, count);
      used += count;
    }
    finish_block(used);
    for (int64_t r = 0; r < group; r++) {
      if (grad.dh0) copy(grad.dh0 + (first + r) * units, m.dh + r * pad, units);
      if (F::kHasC && grad.dc0) copy(grad.dc0 + (first + r) * units, m.dc + r * pad, units);
    }
  }
};

template <int CELL>
static bool backward(const Call &call, const float *packed, float *sums, Arena &arena,
                     int64_t first, int64_t last) {
  const BackwardMemory memory =
      backward_memory<CELL>(call, arena, minimum(kGroup, maximum(last - first, 1)));
  if (arena.failed()) return false;
  if (sums) fill(sums, 0, sums_floats<CELL>(call.layer));
  Backward<CELL> way(call, packed, sums, memory);
  for (int64_t rows; first < last; first += rows) {
    rows = minimum(kGroup, last - first);
    way.run(first, rows);
  }
  return true;
}

}  // namespace SQK_ISA
