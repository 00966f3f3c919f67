// What the adapters to TensorFlow and XLA share: it turns the tensors of a framework into the
// structs of the C interface. A call has one layer, or two that only differ in their tensors and
// read in opposite directions. An adapter provides a Frame with
//   bool input(int slot, Tensor *)           a tensor that is given: by layer, then by slot
//   float *output(int rank, const int64_t *) the next output, of this shape; null: has failed
//   float *saved(int64_t floats)             the output that is kept for backward; the same
//   void fail(int code, const char *words)   ends the call with an error
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <initializer_list>

#include "seqkeras_native.h"

namespace binding {

// Tensors of a call: `FusedInputs` of seqkeras/kernels/fused/_arguments.py, and what else backward
// reads.
// Letters are sizes: batch, timesteps, features, units, gates, width (gates * units).
struct Slot {
  const char *name, *shape;
  bool is_bool;
};
constexpr Slot kSlots[] = {
    {"x", "btf", false},
    {"kernel", "fw", false},
    {"recurrent_kernel", "uw", false},
    {"bias", "w", false},
    {"h0", "bu", false},
    {"c0", "bu", false},
    {"mask", "bt", true},
    {"recurrent_dropout", "gbu", false},
    {"reset", "bt", true},
    {"zoneout_h_mask", "btu", true},
    {"zoneout_c_mask", "btu", true},
    {"peephole", "3u", false},
    {"norm", "nu", false},
    {"y", "btu", false},
    {"saved", "s", false},
    {"dy", "btu", false},
    {"dlast", "bu", false},
    {"dh_n", "bu", false},
    {"dc_n", "bu", false},
};
enum { X, KERNEL, RECURRENT_KERNEL, BIAS, H0, C0, MASK, RECURRENT_DROPOUT, RESET };
enum { ZONEOUT_H_MASK = RESET + 1, ZONEOUT_C_MASK, PEEPHOLE, NORM, Y, SAVED, DY, DLAST, DH_N, DC_N };
constexpr int kCount = DC_N + 1;
static_assert(sizeof kSlots / sizeof kSlots[0] == kCount, "a name for each slot");

// What is known when a call is traced: `Static`, and bits for the slots of the tensors present.
struct Options {
  int32_t given, wanted;
  int32_t cell, activation, recurrent_activation, masked_output, go_backwards;
  int32_t save, sequences, precision, directions;
  float zoneout_h, zoneout_c, norm_epsilon;
};
struct Attribute {
  const char *name;
  bool is_float;
  size_t offset;
};
#define ATTRIBUTE(name, is_float) {#name, is_float, offsetof(Options, name)}
constexpr Attribute kAttributes[] = {
    ATTRIBUTE(given, false),
    ATTRIBUTE(wanted, false),
    ATTRIBUTE(cell, false),
    ATTRIBUTE(activation, false),
    ATTRIBUTE(recurrent_activation, false),
    ATTRIBUTE(masked_output, false),
    ATTRIBUTE(go_backwards, false),
    ATTRIBUTE(save, false),
    ATTRIBUTE(sequences, false),
    ATTRIBUTE(precision, false),
    ATTRIBUTE(directions, false),
    ATTRIBUTE(zoneout_h, true),
    ATTRIBUTE(zoneout_c, true),
    ATTRIBUTE(norm_epsilon, true),
};
#undef ATTRIBUTE

// Functions of the C interface: an adapter may be in another library.
struct Core {
  decltype(&sqk_forward_all) forward;
  decltype(&sqk_backward_all) backward;
  decltype(&sqk_workspace_floats) workspace_floats;
  decltype(&sqk_last_error) last_error;
};

// Codes of errors, the same in TensorFlow and XLA.
constexpr int kInvalidArgument = 3, kResourceExhausted = 8, kUnimplemented = 12;
inline int code_of(int error) {
  return error == SQK_NO_MEMORY     ? kResourceExhausted
         : error == SQK_UNSUPPORTED ? kUnimplemented
                                    : kInvalidArgument;
}

constexpr int kMostRank = 4;
struct Tensor {
  void *data = nullptr;
  int rank = 0;
  int64_t dims[kMostRank] = {};

  int64_t elements() const {
    int64_t count = 1;
    for (int axis = 0; axis < rank; axis++) count *= dims[axis];
    return count;
  }
};

// An empty tensor may have no memory; a null pointer means that there is no tensor.
inline void *there(void *data) {
  static float nothing[1];
  return data ? data : nothing;
}

// One layer of a call.
template <class Frame>
class Layer {
 public:
  Layer(Frame &frame, const Options &options, const Core &core, bool second)
      : frame_(frame), options_(options), core_(core), second_(second) {}

  // Reads all tensors that are present, and makes a layer of them.
  bool read() {
    for (int slot = 0; slot < kCount; slot++) {
      if (!given(slot)) continue;
      if (!frame_.input(slot, &tensors_[slot])) return false;
      tensors_[slot].data = there(tensors_[slot].data);
    }
    for (int slot : {X, KERNEL, RECURRENT_KERNEL})
      if (!given(slot)) return fail("%s must be given", kSlots[slot].name);
    const Tensor &x = tensors_[X], &recurrent_kernel = tensors_[RECURRENT_KERNEL];
    if (x.rank != 3) return fail("%s must have 3 axes: batch, timesteps, features", "x");
    if (recurrent_kernel.rank != 2) return fail("%s must have 2 axes", "recurrent_kernel");
    fill(x.dims, recurrent_kernel.dims[0]);
    for (int slot = 0; slot < kCount; slot++)
      if (given(slot) && !fits(slot)) return false;
    return true;
  }

  // First the outputs of all layers, then what is saved: a framework has them in two lists.
  bool allocate_outputs() {
    if (options_.sequences && !output(y_, "btu")) return false;
    if (!output(outputs_.last, "bu") || !output(outputs_.h_n, "bu")) return false;
    return options_.cell != SQK_LSTM || output(outputs_.c_n, "bu");
  }

  bool allocate_saved() {
    float *saved = nullptr;
    if (options_.save && !(saved = frame_.saved(saved_floats()))) return false;
    place(y_, saved);
    return true;
  }

  // The outputs as forward left them.
  bool restore() {
    if (!given(SAVED)) return fail("%s must be given", "saved");
    if (options_.sequences && !given(Y)) return fail("%s must be given", "y");
    place(tensors_[Y].data, tensors_[SAVED].data);
    return true;
  }

  bool allocate_gradients() {
    sqk_gradients &gradients = gradients_;
    gradients.struct_size = sizeof gradients;
    gradients.dy = floats(DY);
    gradients.dy_batch_stride = layer_.timesteps * layer_.units;
    gradients.dy_time_stride = layer_.units;
    gradients.dlast = floats(DLAST);
    gradients.dh_n = floats(DH_N);
    gradients.dc_n = floats(DC_N);
    gradients.dx_batch_stride = layer_.x_batch_stride;
    gradients.dx_time_stride = layer_.x_time_stride;
    return wanted(X, gradients.dx) && wanted(KERNEL, gradients.dkernel) &&
           wanted(RECURRENT_KERNEL, gradients.drecurrent_kernel) &&
           wanted(BIAS, gradients.dbias) && wanted(H0, gradients.dh0) &&
           wanted(C0, gradients.dc0) && wanted(PEEPHOLE, gradients.dpeephole) &&
           wanted(NORM, gradients.dnorm);
  }

  const sqk_layer *layer() const { return &layer_; }
  const sqk_outputs *outputs() const { return &outputs_; }
  const sqk_gradients *gradients() const { return &gradients_; }

 private:
  bool given(int slot) const { return options_.given >> slot & 1; }
  float *floats(int slot) const { return static_cast<float *>(tensors_[slot].data); }
  const uint8_t *bytes(int slot) const { return static_cast<uint8_t *>(tensors_[slot].data); }

  bool fail(const char *format, const char *name) {
    char words[200];
    snprintf(words, sizeof words, format, name);
    frame_.fail(kInvalidArgument, words);
    return false;
  }

  void fill(const int64_t *sizes, int64_t units) {
    layer_.struct_size = sizeof layer_;
    layer_.cell = options_.cell;
    layer_.activation = options_.activation;
    layer_.recurrent_activation = options_.recurrent_activation;
    layer_.masked_output = options_.masked_output;
    layer_.go_backwards = options_.go_backwards != second_;
    layer_.batch = sizes[0];
    layer_.timesteps = sizes[1];
    layer_.features = sizes[2];
    layer_.units = units;
    layer_.x = floats(X);
    layer_.x_batch_stride = sizes[1] * sizes[2];
    layer_.x_time_stride = sizes[2];
    layer_.kernel = floats(KERNEL);
    layer_.recurrent_kernel = floats(RECURRENT_KERNEL);
    layer_.bias = floats(BIAS);
    layer_.h0 = floats(H0);
    layer_.c0 = floats(C0);
    layer_.mask = bytes(MASK);
    layer_.recurrent_dropout = floats(RECURRENT_DROPOUT);
    layer_.reset = bytes(RESET);
    layer_.mask_batch_stride = layer_.reset_batch_stride = sizes[1];
    layer_.mask_time_stride = layer_.reset_time_stride = 1;
    layer_.zoneout_h = options_.zoneout_h;
    layer_.zoneout_c = options_.zoneout_c;
    layer_.zoneout_h_mask = bytes(ZONEOUT_H_MASK);
    layer_.zoneout_c_mask = bytes(ZONEOUT_C_MASK);
    layer_.peephole = floats(PEEPHOLE);
    layer_.norm = floats(NORM);
    layer_.norm_epsilon = options_.norm_epsilon;
    layer_.precision = options_.precision;
  }

  int64_t gates() const {
    return options_.cell == SQK_LSTM ? 4 : options_.cell == SQK_SIMPLE_RNN ? 1 : 3;
  }

  int64_t size_of(char letter) const {
    switch (letter) {
      case 'b': return layer_.batch;
      case 't': return layer_.timesteps;
      case 'f': return layer_.features;
      case 'u': return layer_.units;
      case 'g': return gates();
      case 'w': return gates() * layer_.units;
      case 'n': return 10;
      case 's': return saved_floats();
      default: return letter - '0';
    }
  }

  bool fits(int slot) {
    const bool two_biases = slot == BIAS && options_.cell == SQK_GRU_RESET_AFTER;
    const char *letters = two_biases ? "2w" : kSlots[slot].shape;
    const Tensor &tensor = tensors_[slot];
    int64_t want[kMostRank] = {};
    const int rank = static_cast<int>(strlen(letters));
    bool same = tensor.rank == rank;
    for (int axis = 0; axis < rank; axis++) {
      want[axis] = size_of(letters[axis]);
      same = same && tensor.dims[axis] == want[axis];
    }
    if (same) return true;
    char got_words[96], want_words[96], words[256];
    describe(got_words, sizeof got_words, tensor.dims, tensor.rank);
    describe(want_words, sizeof want_words, want, rank);
    snprintf(words, sizeof words, "%s must have the shape %s, not %s", kSlots[slot].name,
             want_words, got_words);
    frame_.fail(kInvalidArgument, words);
    return false;
  }

  static void describe(char *words, size_t room, const int64_t *dims, int rank) {
    if (rank > kMostRank) {
      snprintf(words, room, "one of %d axes", rank);
      return;
    }
    size_t used = static_cast<size_t>(snprintf(words, room, "("));
    for (int axis = 0; axis < rank && used < room; axis++)
      used += static_cast<size_t>(snprintf(words + used, room - used, axis ? ", %lld" : "%lld",
                                           static_cast<long long>(dims[axis])));
    if (used < room) snprintf(words + used, room - used, ")");
  }

  // What forward saves: the workspace, and y unless it is an output.
  int64_t workspace_floats() const {
    const int64_t floats = core_.workspace_floats(&layer_);
    return floats < 0 ? 0 : floats;  // forward then reports the error
  }
  int64_t y_floats() const { return layer_.batch * layer_.timesteps * layer_.units; }
  int64_t saved_floats() const {
    return workspace_floats() + (options_.sequences ? 0 : y_floats());
  }

  void place(void *y, void *saved) {
    sqk_outputs &outputs = outputs_;
    outputs.struct_size = sizeof outputs;
    outputs.workspace = static_cast<float *>(saved);
    if (saved) outputs.workspace_floats = workspace_floats();
    if (saved && !options_.sequences) y = outputs.workspace + outputs.workspace_floats;
    outputs.y = static_cast<float *>(y);
    outputs.y_batch_stride = layer_.timesteps * layer_.units;
    outputs.y_time_stride = layer_.units;
  }

  bool output(float *&to, const char *letters) {
    int64_t dims[kMostRank];
    const int rank = static_cast<int>(strlen(letters));
    for (int axis = 0; axis < rank; axis++) dims[axis] = size_of(letters[axis]);
    to = frame_.output(rank, dims);
    return to != nullptr;
  }

  bool wanted(int slot, float *&to) {
    to = nullptr;
    if (!(options_.wanted >> slot & 1)) return true;
    if (!given(slot)) return fail("the gradient to %s was requested, which is not given",
                                  kSlots[slot].name);
    return (to = frame_.output(tensors_[slot].rank, tensors_[slot].dims)) != nullptr;
  }

  Frame &frame_;
  const Options &options_;
  const Core &core_;
  const bool second_;
  Tensor tensors_[kCount];
  float *y_ = nullptr;
  sqk_layer layer_ = {};
  sqk_outputs outputs_ = {};
  sqk_gradients gradients_ = {};
};

template <class Frame>
class Call {
 public:
  Call(Frame &frame, const Options &options, const Core &core)
      : frame_(frame),
        options_(options),
        core_(core),
        layers_{{frame, options, core, false}, {frame, options, core, true}} {}

  void forward() {
    if (!is_known() || !each(&Half::read) || !each(&Half::allocate_outputs) ||
        !each(&Half::allocate_saved))
      return;
    const sqk_layer *layers[] = {layers_[0].layer(), layers_[1].layer()};
    const sqk_outputs *outputs[] = {layers_[0].outputs(), layers_[1].outputs()};
    check(core_.forward(options_.directions, layers, outputs));
  }

  void backward() {
    if (!is_known() || !each(&Half::read) || !each(&Half::restore) ||
        !each(&Half::allocate_gradients))
      return;
    const sqk_layer *layers[] = {layers_[0].layer(), layers_[1].layer()};
    const sqk_outputs *outputs[] = {layers_[0].outputs(), layers_[1].outputs()};
    const sqk_gradients *gradients[] = {layers_[0].gradients(), layers_[1].gradients()};
    check(core_.backward(options_.directions, layers, outputs, gradients));
  }

 private:
  using Half = Layer<Frame>;

  bool is_known() {
    if (options_.directions == 1 || options_.directions == 2) return true;
    frame_.fail(kInvalidArgument, "directions must be 1 or 2");
    return false;
  }

  bool each(bool (Half::*work)()) {
    for (int i = 0; i < options_.directions; i++)
      if (!(layers_[i].*work)()) return false;
    return true;
  }

  void check(int error) {
    if (error) frame_.fail(code_of(error), core_.last_error());
  }

  Frame &frame_;
  const Options &options_;
  const Core &core_;
  Half layers_[2];
};

}  // namespace binding
