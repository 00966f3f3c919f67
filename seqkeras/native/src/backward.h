// Backward through time, in blocks of timesteps.
//
// Within a block, the gradient `d` to the sums of each timestep goes to a buffer that stays in the
// cache. When the block is done, the buffer is read as one matrix: weight gradients are x^T d and
// h^T d, and the gradient to x is d W^T. So weights and sums of their gradients are read once per
// block, and not once per timestep. Only timesteps that are not masked have a row in the block; the
// values of x at masked ones, which may be NaN, are never read.
#pragma once

#include "forward.h"
#include "products.h"

namespace SQK_ISA {

// Rows of a block: d of one panel, 32 KB with AVX-512, and as many rows of h fit the first cache.
constexpr int64_t kBlock = 128;

// No timestep was read before this one: the state is h0 and c0, or zeros after a reset.
constexpr int64_t kStart = -1, kReset = -2;

// Memory of a thread for a group of rows and a block of timesteps.
struct BackwardMemory {
  // For the rows of a timestep.
  BackRow *rows;
  float **dh_rows, **second_rows;
  const float **active_factors;
  // For the rows of a block, at most `capacity`.
  float **dx_rows;
  const float **x, **h, **resets;  // inputs, states before, and gate r of a GRU
  int64_t *owner;                  // which row of the group it is
  float *d, *d_state;  // gradients to the sums of x and of h: the same memory unless normalized
  float *d_halves, *d_state_halves;  // the same in bfloat16
  Inputs inputs;
  int64_t capacity;
  // For the rows of the group.
  const float **factors;  // of recurrent dropout: [gate][row]
  // [row][timestep]: the last timestep before it that is not masked, or kStart or kReset. Null if
  // it is always the one before.
  int32_t *before;
  float *dh, *dc, *second, *zeros;
};

template <int CELL, bool HALF>
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
  const bool simple = !layer.mask && !layer.reset;
  m.before = simple ? nullptr : arena.take_array<int32_t>(rows * layer.timesteps);
  m.dh = arena.take(rows * pad);
  m.dc = arena.take(F::kHasC ? rows * pad : 0);
  m.second = arena.take(F::kSecond ? rows * pad : 0);
  m.d = m.d_state = arena.take(panels * capacity * kPanel);
  if (F::kNorm) m.d_state = arena.take(panels * capacity * kPanel);
  m.d_halves = m.d_state_halves = arena.take(HALF ? panels * capacity * kPanel / 2 : 0);
  if (HALF && F::kNorm) m.d_state_halves = arena.take(panels * capacity * kPanel / 2);
  m.zeros = arena.take(pad);
  m.inputs.ld = input_ld(maximum(layer.features, layer.units) + 1);
  m.inputs.memory = arena.take(capacity * m.inputs.ld);
  if (!arena.failed()) fill(m.zeros, 0, pad);
  return m;
}

template <int CELL, bool HALF>
class Backward {
  using F = Form<CELL>;
  const sqk_layer &layer;
  const sqk_outputs &from;
  const sqk_gradients &grad;
  const float *packed;
  float *sums;
  const BackwardMemory &m;
  const PackedBack<CELL> weights;
  const AllSums<CELL> all_sums;
  const int64_t units, pad, timesteps, gap;
  int64_t first = 0, group = 0;  // current rows of the batch

  bool masked(int64_t r, int64_t t) const {
    return layer.mask &&
           !layer.mask[(first + r) * layer.mask_batch_stride + t * layer.mask_time_stride];
  }

  const float *y(int64_t r, int64_t t) const {
    return from.y + (first + r) * from.y_batch_stride + t * from.y_time_stride;
  }

  // The timestep before t that was not masked, or kStart or kReset.
  int64_t before(int64_t r, int64_t t) const {
    return m.before ? m.before[r * timesteps + t] : t - 1;
  }

  const float *state_before(int64_t r, int64_t t) const {
    const int64_t last = before(r, t);
    if (last == kReset) return m.zeros;
    return last == kStart ? row_of(layer.h0, first + r, units, m.zeros) : y(r, last);
  }

  void add(float *to, const float *more) const {
    for (int64_t unit = 0; unit < units; unit += kLanes)
      store(to + unit, load(to + unit) + load_some(more + unit, lanes_at(unit, units)));
  }

  // A gradient to y at a masked timestep belongs to the state if y holds the state there.
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
        for (int64_t t = 0, last = kStart; t < timesteps; t++) {
          if (is_reset(layer, b, t)) last = kReset;
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
      row.save = from.workspace + (b * timesteps + t) * saved_of(layer) * pad;
      row.dy = dy;
      row.factors = layer.recurrent_dropout ? m.factors[(F::kGates - 1) * group + r] : nullptr;
      row.dh = m.dh_rows[count] = m.dh + r * pad;
      row.dc = F::kHasC ? m.dc + r * pad : nullptr;
      row.d = m.d + at * kPanel;
      row.d_state = m.d_state + at * kPanel;
      row.second = F::kSecond ? m.second + count * pad : nullptr;
      row.keep_h = flags_at(layer, layer.zoneout_h_mask, b, t);
      row.keep_c = flags_at(layer, layer.zoneout_c_mask, b, t);
      row.more = sums ? sums + all_sums.more : nullptr;
      m.second_rows[count] = row.second;
      m.x[at] = layer.x + b * layer.x_batch_stride + t * layer.x_time_stride;
      m.dx_rows[at] = dx;
      m.resets[at] = row.save + pad;
      m.owner[at] = r;
      count++;
    }
    return count;
  }

  // Rows of d in bfloat16.
  void halve(const float *d, float *halves, int64_t used, int64_t count) const {
    for (int64_t at = used * kPanel; at < F::panels(units) * gap; at += gap)
      store_halves(halves + at / 2, d + at, count * kPanel);
  }

  BackProduct product(const float *d, const float *halves, int64_t used) const {
    BackProduct p = {};
    p.d = HALF ? halves + used * kPanel / 2 : d + used * kPanel;
    p.gap = HALF ? gap / 2 : gap;
    return p;
  }

  // One timestep: d of its rows, and the gradient to the states before it.
  void timestep(int64_t t, int64_t used, int64_t count) const {
    if constexpr (F::kNorm)
      back_norm(m.rows, count, gap, layer);
    else
      back_rows<CELL>(m.rows, count, gap, layer);
    if (HALF) halve(m.d_state, m.d_state_halves, used, count);
    if (HALF && F::kNorm) halve(m.d, m.d_halves, used, count);
    BackProduct p = product(m.d_state, m.d_state_halves, used);
    if constexpr (F::kSecond) {
      p.to = m.second_rows;
      back_product<HALF>(p, weights.second, packed, F::kCandidate, F::kCandidate, count);
      back_rows_after_second(m.rows, count, gap, layer);
    }
    if (t == 0 && !grad.dh0) return;
    p.to = m.dh_rows;
    p.add = true;
    if (!layer.recurrent_dropout) {
      back_product<HALF>(p, weights.h, packed, F::kH, F::kH, count);
      return;
    }
    p.factors = m.active_factors;
    for (int gate = 0; gate < F::kH.count && gate < F::kGates; gate++) {
      for (int64_t i = 0; i < count; i++)
        m.active_factors[i] = m.factors[gate * group + m.owner[used + i]];
      const Product part = CELL == SQK_SIMPLE_RNN ? F::kH : Product{F::kH.first + gate, 1};
      back_product<HALF>(p, weights.h, packed, F::kH, part, count);
    }
  }

  // No gradient flows back beyond a reset.
  void forget(int64_t t) const {
    for (int64_t r = 0; layer.reset && r < group; r++) {
      if (!is_reset(layer, first + r, t)) continue;
      fill(m.dh + r * pad, 0, pad);
      if (F::kHasC) fill(m.dc + r * pad, 0, pad);
    }
  }

  // Gradients of all weights and of x from the rows of a block.
  void finish_block(int64_t used) const {
    if (grad.dx) {
      BackProduct p = product(m.d, m.d_halves, 0);
      p.to = m.dx_rows;
      back_product<HALF>(p, weights.x, packed, F::kX, F::kX, used);
    }
    if (!sums) return;
    if (HALF) {
      for (int64_t u = 0; u < F::panels(units); u++) pair_rows(m.d + u * gap, kPanel, kPanel, used);
      for (int64_t u = 0; F::kNorm && u < F::panels(units); u++)
        pair_rows(m.d_state + u * gap, kPanel, kPanel, used);
    }
    const int64_t depth = words_of(layer, used);
    for (int64_t k = 0; k < used; k++) {
      float *input = m.inputs.memory + k * m.inputs.ld;
      copy(input, m.x[k], layer.features);
      input[layer.features] = 1;
    }
    pair_inputs(layer.features + 1, used);
    weight_product<HALF, F::kX.count>(m.inputs, m.d, gap, depth, sums, all_sums.x, F::kX, 0);
    if (layer.recurrent_dropout)
      dropped_weights(used);
    else {
      gather_states(used, nullptr);
      weight_product<HALF, F::kH.count>(m.inputs, m.d_state, gap, depth, sums, all_sums.h, F::kH,
                                        0);
    }
    if constexpr (F::kSecond) {
      gather_states(used, layer.recurrent_dropout ? m.factors + 2 * group : nullptr);
      reset_states(used);
      weight_product<HALF, 1>(m.inputs, m.d, gap, depth, sums, all_sums.second, F::kCandidate, 0);
    }
  }

  // Each gate has seen its own copy of h.
  void dropped_weights(int64_t used) const {
    const int64_t depth = words_of(layer, used);
    for (int gate = 0; gate < F::kH.count && gate < F::kGates; gate++) {
      gather_states(used, m.factors + gate * group);
      if constexpr (CELL == SQK_SIMPLE_RNN)
        weight_product<HALF, 4>(m.inputs, m.d, gap, depth, sums, all_sums.h, F::kH, 0);
      else
        weight_product<HALF, 1>(m.inputs, m.d_state, gap, depth, sums, all_sums.h,
                                {F::kH.first + gate, 1}, gate);
    }
  }

  void gather_states(int64_t used, const float *const *factors) const {
    for (int64_t k = 0; k < used; k++) {
      float *input = m.inputs.memory + k * m.inputs.ld;
      if (factors) {
        const float *factor = factors[m.owner[k]];
        for (int64_t unit = 0; unit < units; unit += kLanes) {
          const int64_t lanes = lanes_at(unit, units);
          const Vec h = load_some(m.h[k] + unit, lanes);
          store_some(input + unit, h * load_some(factor + unit, lanes), lanes);
        }
      } else {
        copy(input, m.h[k], units);
      }
      input[units] = 1;
    }
    pair_inputs(units + 1, used);
  }

  void pair_inputs(int64_t width, int64_t used) const {
    if (HALF) pair_rows(m.inputs.memory, m.inputs.ld, width, used);
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
      : layer(call.layer), from(call.outputs), grad(call.gradients), packed(packed), sums(sums),
        m(memory), weights(call.layer), all_sums(call.layer), units(layer.units),
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
      forget(t);
      used += count;
    }
    finish_block(used);
    for (int64_t r = 0; r < group; r++) {
      if (grad.dh0) copy(grad.dh0 + (first + r) * units, m.dh + r * pad, units);
      if (F::kHasC && grad.dc0) copy(grad.dc0 + (first + r) * units, m.dc + r * pad, units);
    }
  }
};

template <int CELL, bool HALF>
static bool backward(const Call &call, const float *packed, float *sums, Arena &arena,
                     int64_t first, int64_t last) {
  const BackwardMemory memory =
      backward_memory<CELL, HALF>(call, arena, minimum(kGroup, maximum(last - first, 1)));
  if (arena.failed()) return false;
  if (sums) fill(sums, 0, sums_floats<CELL>(call.layer));
  Backward<CELL, HALF> way(call, packed, sums, memory);
  for (int64_t rows; first < last; first += rows) {
    rows = minimum(kGroup, last - first);
    way.run(first, rows);
  }
  return true;
}

}  // namespace SQK_ISA
