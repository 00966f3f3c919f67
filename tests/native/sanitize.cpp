// Calls every function of the library with many shapes, on arrays of exactly the right size. The
// address and undefined-behavior sanitizers then find reads and writes with a wrong index.
// `make native-sanitize` builds and runs it; `.ci/sanitize.sh thread` looks for races.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <memory>
#include <thread>
#include <vector>

#include "seqkeras_native.h"

namespace {

thread_local uint32_t seed = 1;

uint32_t draw(uint32_t below) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % below;
}

// Exactly `count` floats: a sanitizer notices any access beyond them.
class Floats {
 public:
  explicit Floats(int64_t count, float scale = 0.5f)
      : memory_(new float[static_cast<size_t>(count)]), count_(count) {
    for (int64_t i = 0; i < count; i++)
      memory_[i] = scale * (static_cast<float>(draw(2001)) / 1000.0f - 1.0f);
  }
  operator float *() const { return memory_.get(); }
  void check(const char *name) const {
    for (int64_t i = 0; i < count_; i++)
      if (!isfinite(memory_[i])) {
        printf("%s[%lld] is not finite\n", name, static_cast<long long>(i));
        exit(1);
      }
  }

 private:
  std::unique_ptr<float[]> memory_;
  int64_t count_;
};

void expect(int code, int wanted) {
  if (code == wanted) return;
  printf("code %d, not %d: %s\n", code, wanted, sqk_last_error());
  exit(1);
}

// Runs the layer and its other direction, which writes to separate memory, in one call.
void both_ways(const sqk_layer &layer, const sqk_outputs &outputs, const sqk_gradients &gradients) {
  const int64_t gates = layer.cell == SQK_LSTM ? 4 : layer.cell == SQK_SIMPLE_RNN ? 1 : 3;
  const int64_t steps = layer.batch * layer.timesteps, width = gates * layer.units;
  Floats y(steps * layer.units), workspace(outputs.workspace_floats), dx(steps * layer.features);
  Floats dkernel(layer.features * width), drecurrent(layer.units * width);
  sqk_layer turned = layer;
  turned.go_backwards = !layer.go_backwards;
  sqk_outputs others = outputs;
  others.y = y;
  others.workspace = workspace;
  others.last = others.h_n = others.c_n = nullptr;
  sqk_gradients back = {};
  back.struct_size = sizeof back;
  back.dy = gradients.dy;
  back.dy_batch_stride = gradients.dy_batch_stride;
  back.dy_time_stride = gradients.dy_time_stride;
  back.dx = dx;
  back.dx_batch_stride = gradients.dx_batch_stride;
  back.dx_time_stride = gradients.dx_time_stride;
  back.dkernel = dkernel;
  back.drecurrent_kernel = drecurrent;
  const sqk_layer *layers[] = {&layer, &turned};
  const sqk_outputs *written[] = {&outputs, &others};
  const sqk_gradients *wanted[] = {&gradients, &back};
  expect(sqk_forward_all(2, layers, written), SQK_OK);
  expect(sqk_backward_all(2, layers, written, wanted), SQK_OK);
  for (const Floats *one : {&y, &dx, &dkernel, &drecurrent}) one->check("the other direction");
  expect(sqk_forward_all(3, layers, written), SQK_BAD_ARGUMENT);
  expect(sqk_forward_all(2, nullptr, written), SQK_BAD_ARGUMENT);
  expect(sqk_backward_all(2, layers, written, nullptr), SQK_BAD_ARGUMENT);
}

void run(int32_t cell, int64_t batch, int64_t timesteps, int64_t features, int64_t units) {
  const int64_t gates = cell == SQK_LSTM ? 4 : cell == SQK_SIMPLE_RNN ? 1 : 3;
  const int64_t width = gates * units, state = batch * units, steps = batch * timesteps;
  const int64_t biases = cell == SQK_GRU_RESET_AFTER ? 2 * width : width;
  const bool masked = draw(2), drop = draw(2), most = draw(3) > 0;
  Floats x(steps * features), kernel(features * width), recurrent(units * width, 0.2f);
  Floats bias(biases), h0(state), c0(state), factors(gates * state);
  std::vector<uint8_t> mask(static_cast<size_t>(steps));
  for (auto &one : mask) one = static_cast<uint8_t>(draw(2));

  sqk_layer layer = {};
  layer.struct_size = sizeof layer;
  layer.cell = cell;
  layer.recurrent_activation = draw(2) ? SQK_SIGMOID : SQK_HARD_SIGMOID;
  layer.masked_output = static_cast<int32_t>(draw(3));
  layer.go_backwards = static_cast<int32_t>(draw(2));
  layer.threads = 1 + draw(3);
  layer.batch = batch;
  layer.timesteps = timesteps;
  layer.features = features;
  layer.units = units;
  layer.x = x;
  layer.x_batch_stride = timesteps * features;
  layer.x_time_stride = features;
  layer.kernel = kernel;
  layer.recurrent_kernel = recurrent;
  if (most) layer.bias = bias, layer.h0 = h0, layer.c0 = c0;
  if (drop) layer.recurrent_dropout = factors;
  if (masked) layer.mask = mask.data();
  layer.mask_batch_stride = timesteps;
  layer.mask_time_stride = 1;

  std::vector<uint8_t> reset(static_cast<size_t>(steps));
  std::vector<uint8_t> keep(static_cast<size_t>(steps * units));
  for (auto &one : reset) one = draw(5) == 0;
  for (auto &one : keep) one = static_cast<uint8_t>(draw(2));
  Floats peephole(3 * units), norm(10 * units);
  if (draw(2)) layer.reset = reset.data();
  layer.reset_batch_stride = timesteps;
  layer.reset_time_stride = 1;
  const uint32_t zoneout = draw(3);
  if (zoneout == 1) layer.zoneout_h = 0.25f;
  if (zoneout == 2) layer.zoneout_h_mask = keep.data();
  if (zoneout == 2 && cell == SQK_LSTM) layer.zoneout_c_mask = keep.data();
  const uint32_t kind = cell == SQK_LSTM ? draw(3) : 0;
  if (kind == 1) layer.peephole = peephole;
  if (kind == 2) layer.norm = norm, layer.norm_epsilon = 0.001f;

  layer.precision = draw(3) ? SQK_FLOAT32 : SQK_BFLOAT16;
  if (sqk_workspace_floats(&layer) < 0) layer.precision = SQK_FLOAT32;  // not supported here
  const int64_t floats = sqk_workspace_floats(&layer);
  Floats y(steps * units), last(state), h_n(state), c_n(state), workspace(floats);
  sqk_outputs outputs = {};
  outputs.struct_size = sizeof outputs;
  outputs.last = last;
  expect(sqk_forward(&layer, &outputs), SQK_OK);  // without y and workspace
  outputs.y = y;
  outputs.y_batch_stride = timesteps * units;
  outputs.y_time_stride = units;
  outputs.h_n = h_n;
  outputs.c_n = c_n;
  outputs.workspace = workspace;
  outputs.workspace_floats = floats;
  expect(sqk_forward(&layer, &outputs), SQK_OK);
  y.check("y");

  Floats dy(steps * units), dlast(state), dh_n(state), dc_n(state), dx(steps * features);
  Floats dkernel(features * width), drecurrent(units * width), dbias(biases);
  Floats dh0(state), dc0(state), dpeephole(3 * units), dnorm(10 * units);
  sqk_gradients gradients = {};
  gradients.struct_size = sizeof gradients;
  expect(sqk_backward(&layer, &outputs, &gradients), SQK_OK);  // no gradients requested
  gradients.dy = dy;
  gradients.dy_batch_stride = timesteps * units;
  gradients.dy_time_stride = units;
  if (most) gradients.dlast = dlast, gradients.dh_n = dh_n, gradients.dc_n = dc_n;
  gradients.dkernel = dkernel;
  gradients.drecurrent_kernel = drecurrent;
  if (most) gradients.dbias = dbias, gradients.dh0 = dh0, gradients.dc0 = dc0;
  if (layer.peephole) gradients.dpeephole = dpeephole;
  if (layer.norm) gradients.dnorm = dnorm;
  gradients.dx = dx;
  gradients.dx_batch_stride = timesteps * features;
  gradients.dx_time_stride = features;
  expect(sqk_backward(&layer, &outputs, &gradients), SQK_OK);
  for (const Floats *one : {&dx, &dkernel, &drecurrent, &dbias, &dh0, &dc0, &dpeephole, &dnorm})
    one->check("gradient");
  outputs.workspace_floats = floats - 1;
  if (floats) expect(sqk_backward(&layer, &outputs, &gradients), SQK_BAD_ARGUMENT);

  outputs.workspace_floats = floats;
  both_ways(layer, outputs, gradients);

  sqk_packed *packed;
  if (kind || layer.zoneout_h_mask || layer.zoneout_h != 0)
    expect(sqk_pack(&layer, &packed), SQK_UNSUPPORTED);
  layer.peephole = layer.norm = nullptr;
  layer.precision = SQK_FLOAT32;
  layer.zoneout_h_mask = layer.zoneout_c_mask = nullptr;
  layer.zoneout_h = 0;
  expect(sqk_pack(&layer, &packed), SQK_OK);
  Floats row(batch * features);
  const bool has_c = cell == SQK_LSTM;
  float *c = has_c ? static_cast<float *>(c0) : nullptr;
  expect(sqk_step(packed, batch, row, h0, c, h_n, has_c ? static_cast<float *>(c_n) : nullptr),
         SQK_OK);
  expect(sqk_step(packed, batch, row, h0, c, h0, c), SQK_OK);  // in place
  sqk_unpack(packed);
}

void many(int shapes) {
  for (int i = 0; i < shapes; i++)
    run(static_cast<int32_t>(draw(4)), 1 + draw(20), 1 + draw(9), 1 + draw(40), 1 + draw(70));
}

void refusals() {
  sqk_layer layer = {};
  sqk_outputs outputs = {};
  sqk_packed *packed;
  expect(sqk_forward(nullptr, nullptr), SQK_BAD_ARGUMENT);
  expect(sqk_forward(&layer, &outputs), SQK_BAD_ARGUMENT);
  layer.struct_size = sizeof layer;
  outputs.struct_size = sizeof outputs;
  expect(sqk_forward(&layer, &outputs), SQK_UNSUPPORTED);
  expect(sqk_pack(&layer, &packed), SQK_UNSUPPORTED);
  layer.recurrent_activation = SQK_SIGMOID;
  expect(sqk_forward(&layer, &outputs), SQK_BAD_ARGUMENT);
  expect(sqk_pack(&layer, &packed), SQK_BAD_ARGUMENT);
  expect(sqk_step(nullptr, 1, nullptr, nullptr, nullptr, nullptr, nullptr), SQK_BAD_ARGUMENT);
  sqk_unpack(nullptr);
}

}  // namespace

int main() {
  refusals();
  for (const char *isa : {"avx512", "avx2", "sse2", "neon", "generic"}) {
    if (sqk_set_isa(isa)) continue;
    expect(sqk_set_threads(3), SQK_OK);
    for (int32_t cell = SQK_LSTM; cell <= SQK_SIMPLE_RNN; cell++) {
      run(cell, 0, 3, 2, 2);
      run(cell, 3, 0, 2, 2);
      run(cell, 70, 5, 8, 64);
      run(cell, 1, 150, 3, 20);
    }
    std::thread other(many, 60);  // one of the two gets the helper threads, the other works by itself
    many(60);
    other.join();
    printf("%s: good\n", isa);
  }
  return 0;
}
