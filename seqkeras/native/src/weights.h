// Weights in the order in which the loops read them, and gradients back into the order of Keras.
//
// A panel is what one tile of registers makes at a time: four vectors of sums. For LSTM and GRU
// these are the gates of kLanes units, so that a tile ends with all that these units' new state
// needs; a SimpleRNN has one gate, and a panel is four vectors of units in a row.
//
//   LSTM             i    f    c    o          x and h have a part in all four
//   GRU reset_after  xh   z    r    hh         x in the first three, h in the last three
//   GRU              xh   z    r    -          h in z and r; the candidate is a second product
//   SimpleRNN        u    u+1  u+2  u+3        vectors of units
#pragma once

#include "internal.h"
#include "vec.h"

namespace SQK_ISA {

constexpr int64_t kPanel = 4 * kLanes;

struct Product {  // the columns first .. first + count of a panel
  int first, count;
};

template <int CELL>
struct Form {
  static constexpr bool kNorm = CELL == kNormLstm;
  static constexpr bool kIsLstm = CELL == SQK_LSTM || kNorm;
  static constexpr int64_t kGates = kIsLstm ? 4 : CELL == SQK_SIMPLE_RNN ? 1 : 3;
  static constexpr bool kIsGru = CELL == SQK_GRU || CELL == SQK_GRU_RESET_AFTER;
  static constexpr Product kX = {0, kIsGru ? 3 : 4};
  static constexpr Product kH = {kIsGru ? 1 : 0, CELL == SQK_GRU ? 2 : kIsGru ? 3 : 4};
  // The GRU whose gate r acts before the product: h's part of the candidate is a separate product.
  static constexpr bool kSecond = CELL == SQK_GRU;
  static constexpr Product kCandidate = {0, 1};
  // The bias that only acts on h.
  static constexpr bool kTwoBiases = CELL == SQK_GRU_RESET_AFTER;
  static constexpr bool kHasC = kIsLstm;
  // Vectors of padded units that a row needs for itself within a timestep.
  static constexpr int64_t kWork = kSecond ? 3 : kNorm ? 8 : 0;
  static constexpr int64_t kPanelUnits = CELL == SQK_SIMPLE_RNN ? kPanel : kLanes;

  static int64_t panels(int64_t units) { return (units + kPanelUnits - 1) / kPanelUnits; }

  // Column v of panel u: the gate it belongs to in Keras, and its first unit.
  static int64_t gate(int v) { return kIsGru ? (v + 2) % 3 : kIsLstm ? v : 0; }
  static int64_t unit(int64_t u, int v) {
    return u * kPanelUnits + (CELL == SQK_SIMPLE_RNN ? v * kLanes : 0);
  }
};

// Floats that `count` factors of a product take: half as many in bfloat16.
SQK_INLINE int64_t words_of(const sqk_layer &layer, int64_t count) {
  return layer.precision == SQK_BFLOAT16 ? (count + 1) / 2 : count;
}

SQK_INLINE int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }
SQK_INLINE int64_t maximum(int64_t a, int64_t b) { return a > b ? a : b; }

// Lanes of a vector of units that begins at `unit` that exist.
SQK_INLINE int64_t lanes_at(int64_t unit, int64_t units) {
  return maximum(0, minimum(kLanes, units - unit));
}

static void copy(float *to, const float *from, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  if (i < count) store_some(to + i, load_some(from + i, count - i), count - i);
}

static void fill(float *to, float value, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, all(value));
  if (i < count) store_some(to + i, all(value), count - i);
}

// Forward: for each panel the kernel's rows, then the recurrent kernel's, then, after the last
// panel, the second product's, then the biases, with which the sums begin.
template <int CELL>
struct Packed {
  using F = Form<CELL>;
  int64_t features, units, panels, second_panels, second_size;
  int64_t x_depth, h_depth, x_size, panel_size;  // words of a product; floats
  const float *memory;
  bool hard, extra;  // `extra`: there is zoneout or a peephole
  int32_t activation;
  float zoneout_h, zoneout_c;
  const float *peephole, *norm;
  float norm_epsilon;

  Packed(const sqk_layer &layer, const float *memory)
      : features(layer.features), units(layer.units), panels(F::panels(units)), memory(memory) {
    x_depth = words_of(layer, features);
    h_depth = words_of(layer, units);
    x_size = x_depth * F::kX.count * kLanes;
    panel_size = x_size + h_depth * F::kH.count * kLanes;
    second_panels = F::kSecond ? Form<SQK_SIMPLE_RNN>::panels(units) : 0;
    second_size = units * kPanel;
    hard = layer.recurrent_activation == SQK_HARD_SIGMOID;
    extra = has_zoneout(layer) || layer.peephole;
    activation = layer.activation;
    zoneout_h = layer.zoneout_h;
    zoneout_c = layer.zoneout_c;
    peephole = layer.peephole;
    norm = layer.norm;
    norm_epsilon = layer.norm_epsilon;
  }
  int64_t bias_at() const { return panels * panel_size + second_panels * second_size; }
  int64_t floats() const { return bias_at() + panels * kPanel; }
  const float *x_panel(int64_t u) const { return memory + u * panel_size; }
  const float *h_panel(int64_t u) const { return x_panel(u) + x_size; }
  const float *second_panel(int64_t u) const {
    return memory + panels * panel_size + u * second_size;
  }
  const float *bias(int64_t u) const { return memory + bias_at() + u * kPanel; }
};

// Row by row: `count` columns of panel u out of a row of Keras' matrix.
template <int CELL>
static void pack_row(float *to, const float *row, int64_t units, int64_t u, Product product) {
  for (int v = product.first; v < product.first + product.count; v++, to += kLanes) {
    const int64_t unit = Form<CELL>::unit(u, v), lanes = lanes_at(unit, units);
    store(to, lanes ? load_some(row + Form<CELL>::gate(v) * units + unit, lanes) : Vec{});
  }
}

template <int CELL>
static void pack_bias(const sqk_layer &layer, float *to, int64_t panels) {
  using F = Form<CELL>;
  const int64_t width = F::kGates * layer.units;
  fill(to, 0, panels * kPanel);
  if (!layer.bias) return;
  for (int64_t u = 0; u < panels; u++) {
    float *panel = to + u * kPanel;
    pack_row<CELL>(panel, layer.bias, layer.units, u, F::kX);
    if (!F::kTwoBiases) continue;
    float more[kPanel];
    pack_row<CELL>(more, layer.bias + width, layer.units, u, F::kH);
    for (int v = 0; v < F::kH.count; v++) {
      float *sum = panel + (F::kH.first + v) * kLanes;
      const Vec other = load(more + v * kLanes);
      store(sum, F::kH.first + v < F::kX.count ? load(sum) + other : other);
    }
  }
}

template <int CELL>
static int64_t pack_floats(const sqk_layer &layer) {
  return Packed<CELL>(layer, nullptr).floats();
}

// `rows` rows of a matrix, of panel u; returns where they end.
template <int CELL>
static float *pack_rows(const sqk_layer &layer, float *to, const float *matrix, int64_t rows,
                        int64_t u, Product product) {
  const int64_t width = Form<CELL>::kGates * layer.units, size = product.count * kLanes;
  if (layer.precision == SQK_FLOAT32) {
    for (int64_t k = 0; k < rows; k++, to += size)
      pack_row<CELL>(to, matrix + k * width, layer.units, u, product);
    return to;
  }
  alignas(64) float row[2][kPanel];
  for (int64_t k = 0; k < rows; k += 2, to += size) {
    fill(row[1], 0, size);
    for (int64_t one = 0; one < minimum(2, rows - k); one++)
      pack_row<CELL>(row[one], matrix + (k + one) * width, layer.units, u, product);
    for (int64_t at = 0; at < size; at += kLanes)
      store(to + at, paired(load(row[0] + at), load(row[1] + at)));
  }
  return to;
}

template <int CELL>
static void pack(const sqk_layer &layer, float *memory) {
  using F = Form<CELL>;
  const Packed<CELL> packed(layer, memory);
  const int64_t units = packed.units, width = F::kGates * units;
  float *to = memory;
  for (int64_t u = 0; u < packed.panels; u++) {
    to = pack_rows<CELL>(layer, to, layer.kernel, packed.features, u, F::kX);
    to = pack_rows<CELL>(layer, to, layer.recurrent_kernel, units, u, F::kH);
  }
  for (int64_t u = 0; u < packed.second_panels; u++)
    for (int64_t k = 0; k < units; k++, to += kPanel)
      pack_row<SQK_SIMPLE_RNN>(to, layer.recurrent_kernel + k * width + 2 * units, units, u,
                               {0, 4});
  pack_bias<CELL>(layer, to, packed.panels);
}

// Backward: gradients to x and h are products with transposed weights. They come out in panels of
// up to four vectors of features or units; each has a row for each column of the panels above.
struct Transposed {
  int64_t outputs, panels, count;  // columns made; panels, and vectors of each, that are read
  int64_t offset;                  // where it begins among the weights of backward
  int64_t vector;                  // words of a vector that is read
  int64_t depth() const { return panels * count * vector; }
  int64_t floats() const { return depth() * ((outputs + kLanes - 1) / kLanes) * kLanes; }
};

// As bits, without interpreting them as a number.
SQK_INLINE void copy_word(float *to, const float *from) { __builtin_memcpy(to, from, 4); }

// matrix[j][gate, unit] to [j / 64][gate, unit][j % 64]
template <int CELL>
static void transpose(const Transposed &shape, float *to, const float *matrix, int64_t units,
                      Product product) {
  const int64_t width = Form<CELL>::kGates * units, depth = shape.depth();
  const bool half = shape.vector < kLanes;
  for (int64_t j0 = 0; j0 < shape.outputs; j0 += kPanel) {
    const int64_t columns = minimum(kPanel, shape.outputs - j0);
    const int64_t wide = (columns + kLanes - 1) / kLanes * kLanes;
    fill(to, 0, depth * wide);
    // A block of the matrix at a time, so the destination stays in the cache.
    for (int64_t u = 0; u < shape.panels; u++)
      for (int v = product.first; v < product.first + product.count;
           v++, to += shape.vector * wide) {
        const int64_t unit = Form<CELL>::unit(u, v), lanes = lanes_at(unit, units);
        const float *row = matrix + j0 * width + Form<CELL>::gate(v) * units + unit;
        for (int64_t j = 0; j < columns && lanes; j++, row += width) {
          if (half) {
            float words[kLanes] = {};
            store_halves(words, row, lanes);
            for (int64_t k = 0; 2 * k < lanes; k++) copy_word(to + k * wide + j, words + k);
          } else {
            for (int64_t lane = 0; lane < lanes; lane++) to[lane * wide + j] = row[lane];
          }
        }
      }
  }
}

template <int CELL>
struct PackedBack {
  using F = Form<CELL>;
  Transposed h, second, x;
  explicit PackedBack(const sqk_layer &layer) {
    const int64_t panels = F::panels(layer.units);
    const int64_t vector = words_of(layer, kLanes);
    h = {layer.units, panels, F::kH.count, 0, vector};
    second = {layer.units, F::kSecond ? panels : 0, F::kCandidate.count, h.floats(), vector};
    x = {layer.features, panels, F::kX.count, h.floats() + second.floats(), vector};
  }
  int64_t floats() const { return h.floats() + second.floats() + x.floats(); }
};

template <int CELL>
static int64_t pack_back_floats(const sqk_layer &layer) {
  return PackedBack<CELL>(layer).floats();
}

template <int CELL>
static void pack_back(const sqk_layer &layer, float *memory) {
  using F = Form<CELL>;
  const PackedBack<CELL> packed(layer);
  const float *recurrent = layer.recurrent_kernel;
  transpose<CELL>(packed.h, memory + packed.h.offset, recurrent, layer.units, F::kH);
  if (F::kSecond)
    transpose<CELL>(packed.second, memory + packed.second.offset, recurrent, layer.units,
                    F::kCandidate);
  transpose<CELL>(packed.x, memory + packed.x.offset, layer.kernel, layer.units, F::kX);
}

// Sums of weight gradients of one thread, by panel: [panel][row of the matrix][count vectors]. A
// bias is the weight of an input that is always 1, and its gradient one more row.
struct Sums {
  int64_t rows, panels, count;
  int64_t offset;  // where it begins among the sums of a thread
  int64_t row_size() const { return count * kLanes; }
  int64_t floats() const { return panels * rows * row_size(); }
  int64_t at(int64_t u, int64_t row) const { return offset + (u * rows + row) * row_size(); }
};

template <int CELL>
struct AllSums {
  using F = Form<CELL>;
  Sums x, h, second;
  // Where those of a peephole begin, or of normalization and its bias: [3 or 14][padded units].
  int64_t more;
  int64_t end;
  explicit AllSums(const sqk_layer &layer) {
    const int64_t panels = F::panels(layer.units);
    x = {layer.features + 1, panels, F::kX.count, 0};
    h = {layer.units + (F::kTwoBiases ? 1 : 0), panels, F::kH.count, x.floats()};
    second = {layer.units, F::kSecond ? panels : 0, F::kCandidate.count, x.floats() + h.floats()};
    more = second.offset + second.floats();
    end = more + (F::kNorm ? 14 : layer.peephole ? 3 : 0) * padded(layer.units);
  }
};

template <int CELL>
static int64_t sums_floats(const sqk_layer &layer) {
  return AllSums<CELL>(layer).end;
}

// Row `row` of the sums of all threads, in their order, into a row of Keras' matrix.
template <int CELL>
static void collect_row(float *to, const Sums &sum, float *const *sums, int64_t parts, int64_t row,
                        int64_t units, Product product) {
  for (int64_t u = 0; u < sum.panels; u++)
    for (int v = product.first; v < product.first + product.count; v++) {
      const int64_t unit = Form<CELL>::unit(u, v), lanes = lanes_at(unit, units);
      if (!lanes) continue;
      const int64_t at = sum.at(u, row) + (v - product.first) * kLanes;
      Vec total = load(sums[0] + at);
      for (int64_t part = 1; part < parts; part++) total += load(sums[part] + at);
      store_some(to + Form<CELL>::gate(v) * units + unit, total, lanes);
    }
}

// The same for `rows` rows of padded units, one after the other.
static void collect_rows(float *to, int64_t rows, int64_t units, float *const *sums, int64_t parts,
                         int64_t at) {
  for (int64_t row = 0; row < rows; row++, to += units, at += padded(units))
    for (int64_t unit = 0; unit < units; unit += kLanes) {
      Vec total = load(sums[0] + at + unit);
      for (int64_t part = 1; part < parts; part++) total += load(sums[part] + at + unit);
      store_some(to + unit, total, lanes_at(unit, units));
    }
}

template <int CELL>
static void collect(const Call &call, float *const *sums, int64_t parts) {
  using F = Form<CELL>;
  const sqk_layer &layer = call.layer;
  const sqk_gradients &to = call.gradients;
  const AllSums<CELL> all_sums(layer);
  const int64_t units = layer.units, width = F::kGates * units;
  if (to.dkernel) {
    for (int64_t row = 0; row < layer.features; row++)
      collect_row<CELL>(to.dkernel + row * width, all_sums.x, sums, parts, row, units, F::kX);
    for (int64_t row = 0; row < units; row++) {
      float *recurrent = to.drecurrent_kernel + row * width;
      collect_row<CELL>(recurrent, all_sums.h, sums, parts, row, units, F::kH);
      if (F::kSecond)
        collect_row<CELL>(recurrent, all_sums.second, sums, parts, row, units, F::kCandidate);
    }
  }
  const int64_t more = all_sums.more;
  if (F::kNorm) {
    if (to.dnorm) collect_rows(to.dnorm, 10, units, sums, parts, more);
    if (to.dbias) collect_rows(to.dbias, 4, units, sums, parts, more + 10 * padded(units));
    return;
  }
  if (layer.peephole && to.dpeephole) collect_rows(to.dpeephole, 3, units, sums, parts, more);
  if (!to.dbias) return;
  collect_row<CELL>(to.dbias, all_sums.x, sums, parts, layer.features, units, F::kX);
  if (F::kTwoBiases)
    collect_row<CELL>(to.dbias + width, all_sums.h, sums, parts, units, units, F::kH);
}

}  // namespace SQK_ISA
