// A cell after the sums of a tile: its activations and its new state, and the gradient of both.
//
// These functions are not templates over the size of a tile: all tiles share one piece of machine
// code, so a row gets the same bits in each.
#pragma once

#include "weights.h"

namespace SQK_ISA {

#define SQK_NOINLINE __attribute__((noinline))

// A row of the batch at one timestep.
struct Row {
  const float *x, *h;  // input, and previous state
  const float *factor;   // h as a factor of products: h itself, or its words of bfloat16
  const float *dropped;  // h times the factors of recurrent dropout, for each gate, or null
  const float *factors;  // of recurrent dropout, for the GRU's candidate, or null
  float *h_out, *c;      // new state; c is changed in place
  float *save;           // what backward needs, or null
  float *work;           // three vectors for the GRU's second product, or eight for all sums
  const uint8_t *keep_h, *keep_c;  // masks of zoneout, or null
};

SQK_INLINE Vec gate_activation(bool hard, Vec x) { return hard ? hard_sigmoid(x) : sigmoid(x); }
SQK_INLINE Vec gate_slope(bool hard, Vec s) {
  return hard ? hard_sigmoid_slope(s) : sigmoid_slope(s);
}

// Zoneout: the part of the old values that stays, which is all or nothing with a mask.
SQK_INLINE Vec kept_part(const uint8_t *mask, float rate, int64_t unit, int64_t lanes) {
  return mask ? load_flags(mask + unit, lanes) : all(rate);
}
SQK_INLINE Vec zoned_out(Vec kept, Vec before, Vec after) {
  return kept * before + (1.0f - kept) * after;
}

template <int CELL>
SQK_INLINE Vec zoned_out_h(const Packed<CELL> &weights, const Row &row, Vec h, int64_t unit) {
  const int64_t lanes = lanes_at(unit, weights.units);
  return zoned_out(kept_part(row.keep_h, weights.zoneout_h, unit, lanes),
                   load_some(row.h + unit, lanes), h);
}

// With EXTRA there may be zoneout and a peephole.
template <bool HARD, bool EXTRA>
SQK_INLINE void finish_lstm(const Packed<SQK_LSTM> &weights, const float *sums, const Row &row,
                            int64_t unit) {
  const int64_t units = weights.units, lanes = lanes_at(unit, units);
  const float *peephole = EXTRA ? weights.peephole : nullptr;
  const Vec c_before = load(row.c + unit);
  Vec i = load(sums), f = load(sums + kLanes), o = load(sums + 3 * kLanes);
  if (peephole) {
    i += load_some(peephole + unit, lanes) * c_before;
    f += load_some(peephole + units + unit, lanes) * c_before;
  }
  i = gate_activation(HARD, i);
  f = gate_activation(HARD, f);
  const Vec g = tanh(load(sums + 2 * kLanes));
  Vec c = f * c_before + i * g;
  if (EXTRA) c = zoned_out(kept_part(row.keep_c, weights.zoneout_c, unit, lanes), c_before, c);
  if (peephole) o += load_some(peephole + 2 * units + unit, lanes) * c;
  o = gate_activation(HARD, o);
  Vec h = o * tanh(c);
  if (EXTRA) h = zoned_out_h(weights, row, h, unit);
  store(row.c + unit, c);
  store_some(row.h_out + unit, h, lanes);
  if (!row.save) return;
  const int64_t pad = padded(units);
  float *save = row.save + unit;
  store(save, i);
  store(save + pad, f);
  store(save + 2 * pad, g);
  store(save + 3 * pad, o);
  store(save + 4 * pad, c_before);
}

template <bool HARD, bool EXTRA>
SQK_INLINE void finish_gru_reset_after(const Packed<SQK_GRU_RESET_AFTER> &weights,
                                       const float *sums, const Row &row, int64_t unit) {
  const int64_t units = weights.units, lanes = lanes_at(unit, units);
  const Vec z = gate_activation(HARD, load(sums + kLanes));
  const Vec r = gate_activation(HARD, load(sums + 2 * kLanes));
  const Vec state_part = load(sums + 3 * kLanes);
  const Vec candidate = tanh(load(sums) + r * state_part);
  Vec h = load_some(row.h + unit, lanes);
  h = candidate + z * (h - candidate);
  if (EXTRA) h = zoned_out_h(weights, row, h, unit);
  store_some(row.h_out + unit, h, lanes);
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

template <bool EXTRA>
SQK_INLINE void finish_gru_candidate(const Packed<SQK_GRU> &weights, const float *sums,
                                     const Row &row, int64_t unit) {
  const int64_t units = weights.units, lanes = lanes_at(unit, units), pad = padded(units);
  if (!lanes) return;
  const Vec z = load(row.work + unit);
  const Vec candidate = tanh(load(row.work + pad + unit) + load(sums));
  Vec h = load_some(row.h + unit, lanes);
  h = candidate + z * (h - candidate);
  if (EXTRA) h = zoned_out_h(weights, row, h, unit);
  store_some(row.h_out + unit, h, lanes);
  if (!row.save) return;
  store(row.save + unit, z);
  store(row.save + 2 * pad + unit, candidate);
}

template <bool EXTRA>
SQK_INLINE void finish_simple(const Packed<SQK_SIMPLE_RNN> &weights, const float *sums,
                              const Row &row, int64_t unit) {
  const int64_t lanes = lanes_at(unit, weights.units);
  if (!lanes) return;
  const Vec z = load(sums);
  Vec h = z;
  if (weights.activation == SQK_TANH) h = tanh(z);
  if (weights.activation == SQK_RELU) h = at_least(z, 0.0f);
  if (EXTRA && row.save) store(row.save + unit, h);
  if (EXTRA) h = zoned_out_h(weights, row, h, unit);
  store_some(row.h_out + unit, h, lanes);
}

template <int CELL, bool HARD, bool EXTRA>
SQK_INLINE void finish_panel(const Packed<CELL> &weights, const float *sums, const Row &row,
                             int64_t u) {
  const int64_t unit = u * Form<CELL>::kPanelUnits, units = weights.units;
  if constexpr (CELL == SQK_LSTM) finish_lstm<HARD, EXTRA>(weights, sums, row, unit);
  if constexpr (CELL == SQK_GRU_RESET_AFTER)
    finish_gru_reset_after<HARD, EXTRA>(weights, sums, row, unit);
  if constexpr (CELL == SQK_GRU) finish_gru_gates<HARD>(sums, row, unit, units);
  if constexpr (CELL == SQK_SIMPLE_RNN)
    for (int v = 0; v < 4; v++)
      finish_simple<EXTRA>(weights, sums + v * kLanes, row, unit + v * kLanes);
}

// sums[rows][panels][4 vectors], of the panels from u on
template <int CELL, bool HARD, bool EXTRA>
static void finish_panels(const Packed<CELL> &weights, const float *sums, const Row *rows,
                          int count, int64_t u, int panels) {
  for (int r = 0; r < count; r++)
    for (int p = 0; p < panels; p++, sums += kPanel)
      finish_panel<CELL, HARD, EXTRA>(weights, sums, rows[r], u + p);
}

template <int CELL>
SQK_NOINLINE static void finish(const Packed<CELL> &weights, const float *sums, const Row *rows,
                                int count, int64_t u, int panels) {
  const bool hard = weights.hard, extra = weights.extra;
  const auto it = hard ? extra ? finish_panels<CELL, true, true> : finish_panels<CELL, true, false>
                  : extra ? finish_panels<CELL, false, true>
                          : finish_panels<CELL, false, false>;
  it(weights, sums, rows, count, u, panels);
}

SQK_NOINLINE static void finish_candidate(const Packed<SQK_GRU> &weights, const float *sums,
                                          const Row *rows, int count, int64_t u) {
  for (int r = 0; r < count; r++)
    for (int v = 0; v < 4; v++, sums += kLanes) {
      const int64_t unit = u * kPanel + v * kLanes;
      if (weights.extra)
        finish_gru_candidate<true>(weights, sums, rows[r], unit);
      else
        finish_gru_candidate<false>(weights, sums, rows[r], unit);
    }
}

// A row of the batch at one timestep, backward.
struct BackRow {
  const float *h, *h_after;  // state before and after
  const float *save, *dy;    // dy may be null
  const float *factors;      // of recurrent dropout, for the GRU's candidate, or null
  float *dh, *dc;  // gradient to the state after; becomes the part of the gradient to the state
                   // before that does not come through the recurrent kernel
  float *d;        // gradient to the sums: its row in the first panel
  float *d_state;  // with normalization, that to h's sums; else the same
  float *second;   // gradient to r * h, GRU
  const uint8_t *keep_h, *keep_c;  // masks of zoneout, or null
  float *more;                     // sums for a peephole or for normalization, or null
};

// Zoneout: subtracts from the gradient to a new state the part that goes to the old one.
SQK_INLINE Vec take_kept(Vec &gradient, const uint8_t *mask, float rate, int64_t unit,
                         int64_t lanes) {
  const Vec kept = kept_part(mask, rate, unit, lanes) * gradient;
  gradient -= kept;
  return kept;
}

SQK_INLINE void add_to(float *sum, Vec more) { store(sum, load(sum) + more); }

// `d` is [panel][row of a block][4 vectors]; `gap` floats lie between panels.
template <bool HARD, bool EXTRA>
SQK_INLINE void back_lstm(const BackRow &row, int64_t gap, const sqk_layer &layer) {
  const int64_t units = layer.units, pad = padded(units);
  const float *peephole = EXTRA ? layer.peephole : nullptr;
  float *d = row.d;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap) {
    const float *save = row.save + unit;
    const Vec i = load(save), f = load(save + pad), g = load(save + 2 * pad);
    const Vec o = load(save + 3 * pad), c_before = load(save + 4 * pad);
    const int64_t lanes = lanes_at(unit, units);
    Vec c = f * c_before + i * g;
    if (EXTRA) c = zoned_out(kept_part(row.keep_c, layer.zoneout_c, unit, lanes), c_before, c);
    const Vec t = tanh(c);
    Vec dh = load(row.dh + unit), dh_before = {}, dc_before = {};
    if (row.dy) dh += load_some(row.dy + unit, lanes);
    if (EXTRA) dh_before = take_kept(dh, row.keep_h, layer.zoneout_h, unit, lanes);
    const Vec d_o = dh * t * gate_slope(HARD, o);
    Vec dc = load(row.dc + unit) + dh * o * tanh_slope(t);
    if (peephole) dc += d_o * load_some(peephole + 2 * units + unit, lanes);
    if (EXTRA) dc_before = take_kept(dc, row.keep_c, layer.zoneout_c, unit, lanes);
    const Vec d_i = dc * g * gate_slope(HARD, i), d_f = dc * c_before * gate_slope(HARD, f);
    dc_before += dc * f;
    if (peephole) {
      dc_before += d_i * load_some(peephole + unit, lanes);
      dc_before += d_f * load_some(peephole + units + unit, lanes);
    }
    if (peephole && row.more) {
      add_to(row.more + unit, d_i * c_before);
      add_to(row.more + pad + unit, d_f * c_before);
      add_to(row.more + 2 * pad + unit, d_o * c);
    }
    store(row.dc + unit, dc_before);
    store(row.dh + unit, dh_before);
    store(d, d_i);
    store(d + kLanes, d_f);
    store(d + 2 * kLanes, dc * i * tanh_slope(g));
    store(d + 3 * kLanes, d_o);
  }
}

template <bool HARD, bool EXTRA>
SQK_INLINE void back_gru_reset_after(const BackRow &row, int64_t gap, const sqk_layer &layer) {
  const int64_t units = layer.units, pad = padded(units);
  float *d = row.d;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap) {
    const int64_t lanes = lanes_at(unit, units);
    const float *save = row.save + unit;
    const Vec z = load(save), r = load(save + pad), candidate = load(save + 2 * pad);
    Vec dh = load(row.dh + unit), dh_before = {};
    if (row.dy) dh += load_some(row.dy + unit, lanes);
    if (EXTRA) dh_before = take_kept(dh, row.keep_h, layer.zoneout_h, unit, lanes);
    const Vec h = load_some(row.h + unit, lanes);
    const Vec dcandidate = dh * (1.0f - z) * tanh_slope(candidate);
    store(row.dh + unit, dh_before + dh * z);
    store(d, dcandidate);
    store(d + kLanes, dh * (h - candidate) * gate_slope(HARD, z));
    store(d + 2 * kLanes, dcandidate * load(save + 3 * pad) * gate_slope(HARD, r));
    store(d + 3 * kLanes, dcandidate * r);
  }
}

// The gradient to gate r needs that to r * h, which is a product with the first column of `d`.
template <bool HARD, bool EXTRA>
SQK_INLINE void back_gru_before_second(const BackRow &row, int64_t gap, const sqk_layer &layer) {
  const int64_t units = layer.units, pad = padded(units);
  float *d = row.d;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap) {
    const int64_t lanes = lanes_at(unit, units);
    const Vec z = load(row.save + unit), candidate = load(row.save + 2 * pad + unit);
    Vec dh = load(row.dh + unit), dh_before = {};
    if (row.dy) dh += load_some(row.dy + unit, lanes);
    if (EXTRA) dh_before = take_kept(dh, row.keep_h, layer.zoneout_h, unit, lanes);
    const Vec h = load_some(row.h + unit, lanes);
    store(row.dh + unit, dh_before + dh * z);
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

template <bool EXTRA>
SQK_INLINE void back_simple(const BackRow &row, int64_t gap, const sqk_layer &layer) {
  const int64_t units = layer.units;
  float *panel = row.d;
  for (int64_t first = 0; first < units; first += kPanel, panel += gap)
    for (int v = 0; v < 4; v++) {
      const int64_t unit = first + v * kLanes, lanes = lanes_at(unit, units);
      Vec d = {}, dh_before = {};
      if (lanes) {
        const Vec h = load_some((EXTRA ? row.save : row.h_after) + unit, lanes);
        d = load(row.dh + unit);
        if (row.dy) d += load_some(row.dy + unit, lanes);
        if (EXTRA) dh_before = take_kept(d, row.keep_h, layer.zoneout_h, unit, lanes);
        if (layer.activation == SQK_TANH) d *= tanh_slope(h);
        if (layer.activation == SQK_RELU) d = h > 0.0f ? d : Vec{};
        store(row.dh + unit, dh_before);
      }
      store(panel + v * kLanes, d);
    }
}

template <int CELL, bool HARD, bool EXTRA>
static void back_each(const BackRow *rows, int64_t count, int64_t gap, const sqk_layer &layer) {
  for (int64_t r = 0; r < count; r++) {
    if constexpr (CELL == SQK_LSTM) back_lstm<HARD, EXTRA>(rows[r], gap, layer);
    if constexpr (CELL == SQK_GRU_RESET_AFTER)
      back_gru_reset_after<HARD, EXTRA>(rows[r], gap, layer);
    if constexpr (CELL == SQK_GRU) back_gru_before_second<HARD, EXTRA>(rows[r], gap, layer);
    if constexpr (CELL == SQK_SIMPLE_RNN) back_simple<EXTRA>(rows[r], gap, layer);
  }
}

template <int CELL>
SQK_NOINLINE static void back_rows(const BackRow *rows, int64_t count, int64_t gap,
                                   const sqk_layer &layer) {
  const bool hard = layer.recurrent_activation == SQK_HARD_SIGMOID;
  const bool extra = has_zoneout(layer) || layer.peephole;
  const auto it = hard ? extra ? back_each<CELL, true, true> : back_each<CELL, true, false>
                  : extra ? back_each<CELL, false, true>
                          : back_each<CELL, false, false>;
  it(rows, count, gap, layer);
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
