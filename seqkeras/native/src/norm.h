// An LSTM with layer normalization, after the sums of a row at a timestep, forward and backward. A
// mean needs whole rows, so the products first write their sums to memory, [gate][padded units],
// separately for x and h.
#pragma once

#include "cells.h"

namespace SQK_ISA {

// What a row saves, in vectors of padded units: i f c o and the previous c, like every LSTM; the
// normalized sums of x and h; and the scales that normalized them.
constexpr int64_t kSavedNormals = 5, kSavedScales = 13;

// normal(v) = (v - mean) * scale, over the values of a row.
struct Normal {
  float mean, scale;
};

// The first lanes of v, and zeros.
SQK_INLINE Vec some(Vec v, int64_t lanes) {
  if (lanes >= kLanes) return v;
  Ints at = {};
  for (int32_t lane = 0; lane < kLanes; lane++) at[lane] = lane;
  return at < static_cast<int32_t>(lanes) - Ints{} ? v : Vec{};
}

SQK_INLINE float total(Vec v) {
  alignas(64) float lane[kLanes];
  store(lane, v);
  for (int64_t half = kLanes / 2; half; half /= 2)
    for (int64_t k = 0; k < half; k++) lane[k] += lane[k + half];
  return lane[0];
}

// For GATES parts, `pad` floats apart.
template <int GATES>
SQK_INLINE Normal normal_of(const float *values, int64_t units, int64_t pad, float epsilon) {
  const float count = static_cast<float>(GATES * units);
  Vec sum[GATES] = {}, squares[GATES] = {};
  for (int64_t unit = 0; unit < units; unit += kLanes)
    for (int gate = 0; gate < GATES; gate++)
      sum[gate] += load_some(values + gate * pad + unit, lanes_at(unit, units));
  for (int gate = 1; gate < GATES; gate++) sum[0] += sum[gate];
  const float mean = total(sum[0]) / count;
  for (int64_t unit = 0; unit < units; unit += kLanes)
    for (int gate = 0; gate < GATES; gate++) {
      const Vec v = some(load(values + gate * pad + unit) - mean, lanes_at(unit, units));
      squares[gate] += v * v;
    }
  for (int gate = 1; gate < GATES; gate++) squares[0] += squares[gate];
  return {mean, 1.0f / __builtin_sqrtf(total(squares[0]) / count + epsilon)};
}

// Turns a gradient to normal(v) into that to v, from its sum and the sum of its product with
// normal(v).
struct BackNormal {
  Vec own, product;
  float mean_own, mean_product, scale;
  SQK_INLINE_MEMBER void add(Vec d, Vec normal) {
    own += d;
    product += d * normal;
  }
  SQK_INLINE_MEMBER void end(int64_t count, float by) {
    mean_own = total(own) / static_cast<float>(count);
    mean_product = total(product) / static_cast<float>(count);
    scale = by;
  }
  SQK_INLINE_MEMBER Vec operator()(Vec d, Vec normal) const {
    return scale * (d - mean_own - normal * mean_product);
  }
};

template <bool HARD>
static void finish_norm_row(const Packed<kNormLstm> &weights, const Row &row) {
  const int64_t units = weights.units, pad = padded(units);
  const float *norm = weights.norm;
  float *x = row.work, *h = row.work + 4 * pad;
  float *outputs = row.save ? row.save + 3 * pad : row.work + 3 * pad;  // of gate o
  const Normal of_x = normal_of<4>(x, units, pad, weights.norm_epsilon);
  const Normal of_h = normal_of<4>(h, units, pad, weights.norm_epsilon);
  for (int64_t unit = 0; unit < units; unit += kLanes) {
    const int64_t lanes = lanes_at(unit, units);
    const float *bias = weights.bias(unit / kLanes);
    Vec z[4];
#pragma GCC unroll 4
    for (int gate = 0; gate < 4; gate++) {
      const int64_t at = gate * pad + unit;
      const Vec xs = (load(x + at) - of_x.mean) * of_x.scale;
      const Vec hs = (load(h + at) - of_h.mean) * of_h.scale;
      z[gate] = load(bias + gate * kLanes) + xs * load_some(norm + gate * units + unit, lanes) +
                hs * load_some(norm + (4 + gate) * units + unit, lanes);
      if (!row.save) continue;
      store(x + at, xs);
      store(h + at, hs);
    }
    const Vec i = gate_activation(HARD, z[0]), f = gate_activation(HARD, z[1]), g = tanh(z[2]);
    const Vec c_before = load(row.c + unit);
    const Vec kept = kept_part(row.keep_c, weights.zoneout_c, unit, lanes);
    store(row.c + unit, zoned_out(kept, c_before, f * c_before + i * g));
    store(outputs + unit, gate_activation(HARD, z[3]));
    if (!row.save) continue;
    store(row.save + unit, i);
    store(row.save + pad + unit, f);
    store(row.save + 2 * pad + unit, g);
    store(row.save + 4 * pad + unit, c_before);
  }
  const Normal of_c = normal_of<1>(row.c, units, pad, weights.norm_epsilon);
  for (int64_t unit = 0; unit < units; unit += kLanes) {
    const int64_t lanes = lanes_at(unit, units);
    const Vec c = (load(row.c + unit) - of_c.mean) * of_c.scale;
    const Vec shown = tanh(c * load_some(norm + 8 * units + unit, lanes) +
                           load_some(norm + 9 * units + unit, lanes));
    const Vec h_new = load(outputs + unit) * shown;
    store_some(row.h_out + unit, zoned_out_h(weights, row, h_new, unit), lanes);
  }
  if (!row.save) return;
  float *scales = row.save + kSavedScales * pad;
  scales[0] = of_x.scale;
  scales[1] = of_h.scale;
  scales[2] = of_c.scale;
  scales[3] = of_c.mean;
}

SQK_NOINLINE static void finish_norm(const Packed<kNormLstm> &weights, const Row *rows,
                                     int64_t count) {
  const auto it = weights.hard ? finish_norm_row<true> : finish_norm_row<false>;
  for (int64_t r = 0; r < count; r++) it(weights, rows[r]);
}

// Gradients to the sums of x go to row.d and of h to row.d_state. row.more has sums of gradients to
// the 10 rows of norm and the 4 of the bias, or is null.
template <bool HARD>
static void back_norm_row(const BackRow &row, int64_t gap, const sqk_layer &layer) {
  const int64_t units = layer.units, pad = padded(units);
  const float *norm = layer.norm, *save = row.save, *scales = save + kSavedScales * pad;
  const float *x = save + kSavedNormals * pad, *h = x + 4 * pad;
  const auto c_after = [&](int64_t unit, int64_t lanes) {
    const Vec c_before = load(save + 4 * pad + unit);
    const Vec i = load(save + unit), f = load(save + pad + unit), g = load(save + 2 * pad + unit);
    const Vec c = f * c_before + i * g;
    return zoned_out(kept_part(row.keep_c, layer.zoneout_c, unit, lanes), c_before, c);
  };
  // From h to normal(c), which waits in the first vector of d, and to gate o, in the last.
  BackNormal to_c = {}, to_x = {}, to_h = {};
  float *d = row.d, *d_state = row.d_state;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap) {
    const int64_t lanes = lanes_at(unit, units);
    const Vec scale = load_some(norm + 8 * units + unit, lanes);
    const Vec normal = (c_after(unit, lanes) - scales[3]) * scales[2];
    const Vec shown = tanh(normal * scale + load_some(norm + 9 * units + unit, lanes));
    Vec dh = load(row.dh + unit);
    if (row.dy) dh += load_some(row.dy + unit, lanes);
    store(row.dh + unit, take_kept(dh, row.keep_h, layer.zoneout_h, unit, lanes));
    const Vec o = load(save + 3 * pad + unit), dsum = dh * o * tanh_slope(shown);
    to_c.add(dsum * scale, normal);
    store(d, dsum * scale);
    store(d + 3 * kLanes, dh * shown * gate_slope(HARD, o));
    if (!row.more) continue;
    add_to(row.more + 8 * pad + unit, dsum * normal);
    add_to(row.more + 9 * pad + unit, dsum);
  }
  to_c.end(units, scales[2]);
  d = row.d;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap, d_state += gap) {
    const int64_t lanes = lanes_at(unit, units);
    const Vec i = load(save + unit), f = load(save + pad + unit), g = load(save + 2 * pad + unit);
    const Vec normal = (c_after(unit, lanes) - scales[3]) * scales[2];
    Vec dc = load(row.dc + unit) + to_c(load(d), normal);
    const Vec kept = take_kept(dc, row.keep_c, layer.zoneout_c, unit, lanes);
    store(row.dc + unit, kept + dc * f);
    const Vec dz[4] = {dc * g * gate_slope(HARD, i),
                       dc * load(save + 4 * pad + unit) * gate_slope(HARD, f),
                       dc * i * tanh_slope(g), load(d + 3 * kLanes)};
#pragma GCC unroll 4
    for (int gate = 0; gate < 4; gate++) {
      const int64_t at = gate * pad + unit;
      const Vec xs = load(x + at), hs = load(h + at);
      const Vec dx = dz[gate] * load_some(norm + gate * units + unit, lanes);
      const Vec dh = dz[gate] * load_some(norm + (4 + gate) * units + unit, lanes);
      to_x.add(dx, xs);
      to_h.add(dh, hs);
      store(d + gate * kLanes, dx);
      store(d_state + gate * kLanes, dh);
      if (!row.more) continue;
      add_to(row.more + at, dz[gate] * xs);
      add_to(row.more + 4 * pad + at, dz[gate] * hs);
      add_to(row.more + 10 * pad + at, dz[gate]);
    }
  }
  to_x.end(4 * units, scales[0]);
  to_h.end(4 * units, scales[1]);
  d = row.d;
  d_state = row.d_state;
  for (int64_t unit = 0; unit < units; unit += kLanes, d += gap, d_state += gap)
#pragma GCC unroll 4
    for (int gate = 0; gate < 4; gate++) {
      float *dx = d + gate * kLanes, *dh = d_state + gate * kLanes;
      store(dx, to_x(load(dx), load(x + gate * pad + unit)));
      store(dh, to_h(load(dh), load(h + gate * pad + unit)));
    }
}

SQK_NOINLINE static void back_norm(const BackRow *rows, int64_t count, int64_t gap,
                                   const sqk_layer &layer) {
  const bool hard = layer.recurrent_activation == SQK_HARD_SIGMOID;
  const auto it = hard ? back_norm_row<true> : back_norm_row<false>;
  for (int64_t r = 0; r < count; r++) it(rows[r], gap, layer);
}

}  // namespace SQK_ISA
