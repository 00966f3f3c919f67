// What a cell does with the sums of a tile: its activations and its new state; and the way back.
//
// These functions are not templates over the size of a tile: one piece of machine code serves all
// tiles, so that a row gets the same bits in each.
#pragma once

#include "weights.h"

namespace SQK_ISA {

#define SQK_NOINLINE __attribute__((noinline))

// A row of the batch at one timestep.
struct Row {
  const float *x, *h;  // input, and state before
  const float *dropped;  // h times the factors of recurrent dropout, for each gate, or null
  const float *factors;  // of recurrent dropout, for the GRU's candidate, or null
  float *h_out, *c;      // new state; c is changed in place
  float *save;           // what backward needs, or null
  float *work;           // three vectors for the GRU's second product
};

SQK_INLINE Vec gate_activation(bool hard, Vec x) { return hard ? hard_sigmoid(x) : sigmoid(x); }
SQK_INLINE Vec gate_slope(bool hard, Vec s) {
  return hard ? hard_sigmoid_slope(s) : sigmoid_slope(s);
}

template <bool HARD>
SQK_INLINE void finish_lstm(const float *sums, const Row &row, int64_t unit, int64_t units) {
  const int64_t lanes = lanes_at(unit, units);
  const Vec i = gate_activation(HARD, load(sums)), f = gate_activation(HARD, load(sums + kLanes));
  const Vec g = tanh(load(sums + 2 * kLanes));
  const Vec o = gate_activation(HARD, load(sums + 3 * kLanes));
  const Vec c_before = load(row.c + unit);
  const Vec c = f * c_before + i * g;
  store(row.c + unit, c);
  store_some(row.h_out + unit, o * tanh(c), lanes);
  if (!row.save) return;
  const int64_t pad = padded(units);
  float *save = row.save + unit;
  store(save, i);
  store(save + pad, f);
  store(save + 2 * pad, g);
  store(save + 3 * pad, o);
  store(save + 4 * pad, c_before);
}

template <bool HARD>
SQK_INLINE void finish_gru_reset_after(const float *sums, const Row &row, int64_t unit,
                                       int64_t units) {
  const int64_t lanes = lanes_at(unit, units);
  const Vec z = gate_activation(HARD, load(sums + kLanes));
  const Vec r = gate_activation(HARD, load(sums + 2 * kLanes));
  const Vec state_part = load(sums + 3 * kLanes);
  const Vec candidate = tanh(load(sums) + r * state_part);
  const Vec h = load_some(row.h + unit, lanes);
  store_some(row.h_out + unit, candidate + z * (h - candidate), lanes);
  if (!row.save) return;
  const int64_t pad = padded(units);
  float *save = row.save + unit;
  store(save, z);
  store(save + pad, r);
  store(save + 2 * pad, candidate);
  store(save + 3 * pad, state_part);
}

// The gates; in `work` z, the input's part of the candidate, and r * h for the second product.
template <bool HARD>
SQK_INLINE void finish_gru_gates(const float *sums, const Row &row, int64_t unit, int64_t units) {
  const int64_t lanes = lanes_at(unit, units), pad = padded(units);
  const Vec z = gate_activation(HARD, load(sums + kLanes));
  const Vec r = gate_activation(HARD, load(sums + 2 * kLanes));
  Vec h = load_some(row.h + unit, lanes);
  if (row.factors) h *= load_some(row.factors + unit, lanes);
  store(row.work + unit, z);
  store(row.work + pad + unit, load(sums));
  store(row.work + 2 * pad + unit, r * h);
  if (row.save) store(row.save + pad + unit, r);
}

SQK_INLINE void finish_gru_candidate(const float *sums, const Row &row, int64_t unit,
                                     int64_t units) {
  const int64_t lanes = lanes_at(unit, units), pad = padded(units);
  if (!lanes) return;
  const Vec z = load(row.work + unit);
  const Vec candidate = tanh(load(row.work + pad + unit) + load(sums));
  const Vec h = load_some(row.h + unit, lanes);
  store_some(row.h_out + unit, candidate + z * (h - candidate), lanes);
  if (!row.save) return;
  store(row.save + unit, z);
  store(row.save + 2 * pad + unit, candidate);
}

SQK_INLINE void finish_simple(const float *sums, const Row &row, int64_t unit, int64_t units,
                              int32_t activation) {
  const int64_t lanes = lanes_at(unit, units);
  if (!lanes) return;
  const Vec z = load(sums);
  Vec h = z;
  if (activation == SQK_TANH) h = tanh(z);
  if (activation == SQK_RELU) h = at_least(z, 0.0f);
  store_some(row.h_out + unit, h, lanes);
}

template <int CELL, bool HARD>
SQK_INLINE void finish_panel(const Packed<CELL> &weights, const float *sums, const Row &row,
                             int64_t u) {
  const int64_t unit = u * Form<CELL>::kPanelUnits, units = weights.units;
  if constexpr (CELL == SQK_LSTM) finish_lstm<HARD>(sums, row, unit, units);
  if constexpr (CELL == SQK_GRU_RESET_AFTER) finish_gru_reset_after<HARD>(sums, row, unit, units);
  if constexpr (CELL == SQK_GRU) finish_gru_gates<HARD>(sums, row, unit, units);
  if constexpr (CELL == SQK_SIMPLE_RNN)
    for (int v = 0; v < 4; v++)
      finish_simple(sums + v * kLanes, row, unit + v * kLanes, units, weights.activation);
}

// sums[rows][panels][4 vectors], of the panels from u on
template <int CELL>
SQK_NOINLINE static void finish(const Packed<CELL> &weights, const float *sums, const Row *rows,
                                int count, int64_t u, int panels) {
  for (int r = 0; r < count; r++)
    for (int p = 0; p < panels; p++, sums += kPanel) {
      if (weights.hard)
        finish_panel<CELL, true>(weights, sums, rows[r], u + p);
      else
        finish_panel<CELL, false>(weights, sums, rows[r], u + p);
    }
}

SQK_NOINLINE static void finish_candidate(const float *sums, const Row *rows, int count, int64_t u,
                                          int64_t units) {
  for (int r = 0; r < count; r++)
    for (int v = 0; v < 4; v++, sums += kLanes)
      finish_gru_candidate(sums, rows[r], u * kPanel + v * kLanes, units);
}

// A row of the batch at one timestep, on the way back.
struct BackRow {
  const float *h, *h_after;  // state before and after
  const float *save, *dy;    // dy may be null
  const float *factors;      // of recurrent dropout, for the GRU's candidate, or null
  float *dh, *dc;  // gradient to the state after; becomes the part of the gradient to the state
                   // before that does not come through the recurrent kernel
  float *d;        // gradient to the sums: its row in the first panel
  float *second;   // gradient to r * h, GRU
};

// `d` is [panel][row of a block][4 vectors]; `gap` floats lie between panels.
template <bool HARD>
SQK_INLINE void back_lstm(const BackRow &row, int64_t gap, int64_t units) {
  const int64_t pad = padded(units);
  float *d = row.d;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap) {
    const float *save = row.save + unit;
    const Vec i = load(save), f = load(save + pad), g = load(save + 2 * pad);
    const Vec o = load(save + 3 * pad), c_before = load(save + 4 * pad);
    const Vec t = tanh(f * c_before + i * g);
    Vec dh = load(row.dh + unit);
    if (row.dy) dh += load_some(row.dy + unit, lanes_at(unit, units));
    const Vec dc = load(row.dc + unit) + dh * o * tanh_slope(t);
    store(row.dc + unit, dc * f);
    store(row.dh + unit, Vec{});
    store(d, dc * g * gate_slope(HARD, i));
    store(d + kLanes, dc * c_before * gate_slope(HARD, f));
    store(d + 2 * kLanes, dc * i * tanh_slope(g));
    store(d + 3 * kLanes, dh * t * gate_slope(HARD, o));
  }
}

template <bool HARD>
SQK_INLINE void back_gru_reset_after(const BackRow &row, int64_t gap, int64_t units) {
  const int64_t pad = padded(units);
  float *d = row.d;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap) {
    const int64_t lanes = lanes_at(unit, units);
    const float *save = row.save + unit;
    const Vec z = load(save), r = load(save + pad), candidate = load(save + 2 * pad);
    Vec dh = load(row.dh + unit);
    if (row.dy) dh += load_some(row.dy + unit, lanes);
    const Vec h = load_some(row.h + unit, lanes);
    const Vec dcandidate = dh * (1.0f - z) * tanh_slope(candidate);
    store(row.dh + unit, dh * z);
    store(d, dcandidate);
    store(d + kLanes, dh * (h - candidate) * gate_slope(HARD, z));
    store(d + 2 * kLanes, dcandidate * load(save + 3 * pad) * gate_slope(HARD, r));
    store(d + 3 * kLanes, dcandidate * r);
  }
}

// The gradient to gate r needs that to r * h, which is a product with the first column of `d`.
template <bool HARD>
SQK_INLINE void back_gru_before_second(const BackRow &row, int64_t gap, int64_t units) {
  const int64_t pad = padded(units);
  float *d = row.d;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap) {
    const int64_t lanes = lanes_at(unit, units);
    const Vec z = load(row.save + unit), candidate = load(row.save + 2 * pad + unit);
    Vec dh = load(row.dh + unit);
    if (row.dy) dh += load_some(row.dy + unit, lanes);
    const Vec h = load_some(row.h + unit, lanes);
    store(row.dh + unit, dh * z);
    store(d, dh * (1.0f - z) * tanh_slope(candidate));
    store(d + kLanes, dh * (h - candidate) * gate_slope(HARD, z));
  }
}

template <bool HARD>
SQK_INLINE void back_gru_after_second(const BackRow &row, int64_t gap, int64_t units) {
  const int64_t pad = padded(units);
  float *d = row.d;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap) {
    const int64_t lanes = lanes_at(unit, units);
    const Vec r = load(row.save + pad + unit), h = load_some(row.h + unit, lanes);
    Vec drh = load_some(row.second + unit, lanes);
    if (row.factors) drh *= load_some(row.factors + unit, lanes);
    store(row.dh + unit, load(row.dh + unit) + drh * r);
    store(d + 2 * kLanes, drh * h * gate_slope(HARD, r));
    store(d + 3 * kLanes, Vec{});
  }
}

SQK_INLINE void back_simple(const BackRow &row, int64_t gap, int64_t units, int32_t activation) {
  float *panel = row.d;
  for (int64_t first = 0; first < units; first += kPanel, panel += gap)
    for (int v = 0; v < 4; v++) {
      const int64_t unit = first + v * kLanes, lanes = lanes_at(unit, units);
      Vec d = {};
      if (lanes) {
        const Vec h = load_some(row.h_after + unit, lanes);
        d = load(row.dh + unit);
        if (row.dy) d += load_some(row.dy + unit, lanes);
        if (activation == SQK_TANH) d *= tanh_slope(h);
        if (activation == SQK_RELU) d = h > 0.0f ? d : Vec{};
        store(row.dh + unit, Vec{});
      }
      store(panel + v * kLanes, d);
    }
}

template <int CELL, bool HARD>
SQK_INLINE void back_row(const BackRow &row, int64_t gap, const sqk_layer &layer) {
  if constexpr (CELL == SQK_LSTM) back_lstm<HARD>(row, gap, layer.units);
  if constexpr (CELL == SQK_GRU_RESET_AFTER) back_gru_reset_after<HARD>(row, gap, layer.units);
  if constexpr (CELL == SQK_GRU) back_gru_before_second<HARD>(row, gap, layer.units);
  if constexpr (CELL == SQK_SIMPLE_RNN) back_simple(row, gap, layer.units, layer.activation);
}

template <int CELL>
SQK_NOINLINE static void back_rows(const BackRow *rows, int64_t count, int64_t gap,
                                   const sqk_layer &layer) {
  const bool hard = layer.recurrent_activation == SQK_HARD_SIGMOID;
  for (int64_t r = 0; r < count; r++) {
    if (hard)
      back_row<CELL, true>(rows[r], gap, layer);
    else
      back_row<CELL, false>(rows[r], gap, layer);
  }
}

SQK_NOINLINE static void back_rows_after_second(const BackRow *rows, int64_t count, int64_t gap,
                                                const sqk_layer &layer) {
  const bool hard = layer.recurrent_activation == SQK_HARD_SIGMOID;
  for (int64_t r = 0; r < count; r++) {
    if (hard)
      back_gru_after_second<true>(rows[r], gap, layer.units);
    else
      back_gru_after_second<false>(rows[r], gap, layer.units);
  }
}

}  // namespace SQK_ISA
