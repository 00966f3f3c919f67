// The C interface: checks, memory, the split of a batch into threads, the choice of machine code.
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>

#include "denormals.h"
#include "internal.h"
#include "pool.h"

// The kernels, one table for each instruction set they are compiled for. SQK_ISAS lists these, the
// best first: SQK_ISAS = X(avx512) X(avx2) X(sse2).
#define X(isa)                     \
  namespace isa {                  \
  extern const Kernels kernels[2 * kCells]; \
  }
SQK_ISAS
#undef X

namespace {

struct Processor {
  bool avx2 = false, avx512 = false, bfloat16 = false;
};

// What the processor has and the operating system saves. The runtime libraries of some compilers
// know no processors, and __builtin_cpu_supports then says no to everything.
Processor processor() {
  Processor here;
#if defined(__x86_64__)
  unsigned a, b, c, d, saved, high;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return here;
  const unsigned fma = 1u << 12, xsave = 1u << 27, avx = 1u << 28;
  if (~c & (fma | xsave | avx)) return here;
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return here;
  const unsigned avx2 = 1u << 5, f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
  const unsigned ymm = 0x06, zmm = 0xe6;
  here.avx2 = !(~saved & ymm) && !(~b & avx2);
  here.avx512 = here.avx2 && !(~saved & zmm) && !(~b & (f | dq | bw | vl));
  if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) here.bfloat16 = here.avx512 && a >> 5 & 1;
#endif
  return here;
}

// Asked once, when the library is loaded: a virtual machine takes long to answer.
const Processor the_processor = processor();

bool runs_here(const char *isa) {
  if (!strcmp(isa, "avx512")) return the_processor.avx512;
  if (!strcmp(isa, "avx2")) return the_processor.avx2;
  return true;
}

const Kernels *const kIsas[] = {
#define X(isa) isa::kernels,
    SQK_ISAS
#undef X
};

const Kernels *named(const char *name) {
  for (const Kernels *isa : kIsas)
    if (name && !strcmp(isa->name, name) && runs_here(isa->name)) return isa;
  return nullptr;
}

const Kernels *best() {
  const Kernels *asked = named(getenv("SEQKERAS_ISA"));
  if (asked) return asked;
  for (const Kernels *isa : kIsas)
    if (runs_here(isa->name)) return isa;
  return kIsas[sizeof kIsas / sizeof kIsas[0] - 1];
}

std::atomic<const Kernels *> the_kernels{nullptr};

const Kernels *kernels() {
  const Kernels *now = the_kernels.load(std::memory_order_relaxed);
  if (now) return now;
  now = best();
  the_kernels.store(now);
  return now;
}

std::atomic<int64_t> the_calls[2];  // of forward and backward

// The kernels for a layer; their functions are null if there are none.
const Kernels &kernels_for(const sqk_layer &layer) {
  return kernels()[cell_of(layer) + (layer.precision == SQK_BFLOAT16 ? kCells : 0)];
}

thread_local char the_error[256] = "";

int fail(int code, const char *format, ...) {
  va_list words;
  va_start(words, format);
  vsnprintf(the_error, sizeof the_error, format, words);
  va_end(words);
  return code;
}

int no_memory() { return fail(SQK_NO_MEMORY, "there is not enough memory"); }

// ---- checks -------------------------------------------------------------------------------------

constexpr int64_t kMostWide = int64_t{1} << 20;  // features, units
constexpr int64_t kMostLong = int64_t{1} << 31;  // batch, timesteps
constexpr int64_t kMostFloats = int64_t{1} << 46;

int check_range(const char *name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value < most) return SQK_OK;
  return fail(SQK_BAD_ARGUMENT, "%s must be at least %lld and less than %lld, not %lld", name,
              static_cast<long long>(least), static_cast<long long>(most),
              static_cast<long long>(value));
}

int check_kind(const sqk_layer &layer) {
  if (int code = check_range("cell", layer.cell, SQK_LSTM, SQK_SIMPLE_RNN + 1)) return code;
  if (int code = check_range("masked_output", layer.masked_output, SQK_HOLD_OUTPUT, SQK_ZERO + 1))
    return code;
  if (layer.cell == SQK_SIMPLE_RNN) {
    if (layer.activation == SQK_TANH || layer.activation == SQK_RELU ||
        layer.activation == SQK_LINEAR)
      return SQK_OK;
    return fail(SQK_UNSUPPORTED, "the activation of a SimpleRNN must be tanh, relu or linear");
  }
  if (layer.activation != SQK_TANH)
    return fail(SQK_UNSUPPORTED, "the activation of an LSTM or a GRU must be tanh");
  if (layer.recurrent_activation != SQK_SIGMOID && layer.recurrent_activation != SQK_HARD_SIGMOID)
    return fail(SQK_UNSUPPORTED, "the recurrent activation must be sigmoid or hard_sigmoid");
  return SQK_OK;
}

int check_zoneout(const sqk_layer &layer) {
  const bool lstm = layer.cell == SQK_LSTM;
  if (!(layer.zoneout_h >= 0 && layer.zoneout_h <= 1 && layer.zoneout_c >= 0 &&
        layer.zoneout_c <= 1))
    return fail(SQK_BAD_ARGUMENT, "rates of zoneout must be from 0 to 1");
  if (!lstm && (layer.zoneout_c != 0 || layer.zoneout_c_mask))
    return fail(SQK_BAD_ARGUMENT, "only an LSTM has zoneout of c");
  if (lstm && !layer.zoneout_h_mask != !layer.zoneout_c_mask)
    return fail(SQK_BAD_ARGUMENT, "zoneout_h_mask and zoneout_c_mask must be given together");
  return SQK_OK;
}

// Features that only few layers have.
int check_variant(const sqk_layer &layer) {
  if (int code = check_zoneout(layer)) return code;
  if (int code = check_range("precision", layer.precision, SQK_FLOAT32, SQK_BFLOAT16 + 1))
    return code;
  if (layer.cell != SQK_LSTM && (layer.peephole || layer.norm))
    return fail(SQK_BAD_ARGUMENT, "only an LSTM has a peephole or normalization");
  if (layer.peephole && layer.norm)
    return fail(SQK_UNSUPPORTED, "an LSTM has a peephole or normalization, not both");
  if (layer.norm && !(layer.norm_epsilon >= 0))
    return fail(SQK_BAD_ARGUMENT, "norm_epsilon must not be negative");
  if (layer.precision == SQK_FLOAT32) return SQK_OK;
  if (layer.cell == SQK_GRU)
    return fail(SQK_UNSUPPORTED, "there is no bfloat16 for a GRU with reset_after=False");
  if (!kernels_for(layer).forward || !the_processor.bfloat16)
    return fail(SQK_UNSUPPORTED, "products in bfloat16 need a processor with AVX512-BF16");
  return SQK_OK;
}

int check_sizes(const sqk_layer &layer) {
  if (int code = check_range("features", layer.features, 1, kMostWide)) return code;
  if (int code = check_range("units", layer.units, 1, kMostWide)) return code;
  if (int code = check_range("batch", layer.batch, 0, kMostLong)) return code;
  if (int code = check_range("timesteps", layer.timesteps, 0, kMostLong)) return code;
  if (int code = check_range("threads", layer.threads, 0, kMostWide)) return code;
  const int64_t wide = layer.features > 5 * padded(layer.units) ? layer.features
                                                                : 5 * padded(layer.units);
  if (layer.batch && layer.timesteps && layer.batch > kMostFloats / layer.timesteps / wide)
    return fail(SQK_BAD_ARGUMENT, "batch * timesteps is too large");
  return SQK_OK;
}

int check_weights(const sqk_layer &layer) {
  if (!layer.kernel || !layer.recurrent_kernel)
    return fail(SQK_BAD_ARGUMENT, "kernel and recurrent_kernel must be given");
  return SQK_OK;
}

// Copies a struct of the caller, which may have fewer members.
template <class T>
int take(T &to, const T *from, const char *name) {
  memset(&to, 0, sizeof to);
  if (!from) return fail(SQK_BAD_ARGUMENT, "%s must be given", name);
  if (from->struct_size < 8 || from->struct_size > static_cast<int64_t>(sizeof(T)))
    return fail(SQK_BAD_ARGUMENT, "struct_size of %s must be at most %lld, not %lld", name,
                static_cast<long long>(sizeof(T)), static_cast<long long>(from->struct_size));
  memcpy(&to, from, static_cast<size_t>(from->struct_size));
  return SQK_OK;
}

// From the last timestep to the first: the same loops with negative strides.
void turn(sqk_layer &layer, sqk_gradients &gradients) {
  if (!layer.go_backwards || !layer.timesteps || !layer.batch) return;
  const int64_t last = layer.timesteps - 1;
  layer.x += last * layer.x_time_stride;
  layer.x_time_stride = -layer.x_time_stride;
  if (layer.mask) layer.mask += last * layer.mask_time_stride;
  layer.mask_time_stride = -layer.mask_time_stride;
  if (layer.reset) layer.reset += last * layer.reset_time_stride;
  layer.reset_time_stride = -layer.reset_time_stride;
  if (gradients.dx) gradients.dx += last * gradients.dx_time_stride;
  gradients.dx_time_stride = -gradients.dx_time_stride;
}

int64_t workspace_floats(const sqk_layer &layer) {
  return layer.batch * layer.timesteps * saved_of(layer) * padded(layer.units);
}

int check_call(Call &call, const sqk_layer *layer, const sqk_outputs *outputs) {
  if (int code = take(call.layer, layer, "layer")) return code;
  if (int code = take(call.outputs, outputs, "outputs")) return code;
  if (int code = check_kind(call.layer)) return code;
  if (int code = check_variant(call.layer)) return code;
  if (int code = check_sizes(call.layer)) return code;
  if (int code = check_weights(call.layer)) return code;
  if (!call.layer.x && call.layer.batch && call.layer.timesteps)
    return fail(SQK_BAD_ARGUMENT, "x must be given");
  if (!call.outputs.workspace) return SQK_OK;
  if (!call.outputs.y) return fail(SQK_BAD_ARGUMENT, "y must be given if there is a workspace");
  const int64_t floats = workspace_floats(call.layer);
  if (call.outputs.workspace_floats < floats)
    return fail(SQK_BAD_ARGUMENT, "the workspace must have %lld floats, not %lld",
                static_cast<long long>(floats),
                static_cast<long long>(call.outputs.workspace_floats));
  return SQK_OK;
}

// ---- the split ----------------------------------------------------------------------------------

// One of the layers of a call, with what its kernels need. Its batch is split into parts.
struct Share {
  Call call;
  const Kernels *kernels;
  const float *packed;
  float **sums;
  int64_t parts;
  int64_t first(int64_t part) const { return call.layer.batch * part / parts; }
};

// Parts of the batch. Waking a thread for less than some 200,000 multiplications costs more than it
// saves.
int64_t parts_of(const sqk_layer &layer) {
  int64_t parts = layer.threads ? layer.threads : pool_threads();
  if (parts > layer.batch) parts = layer.batch;
  const double work = static_cast<double>(layer.batch) * static_cast<double>(layer.timesteps) *
                      static_cast<double>(gates_of(layer.cell) * layer.units) *
                      static_cast<double>(layer.features + layer.units);
  if (work / 2e5 < static_cast<double>(parts)) parts = static_cast<int64_t>(work / 2e5);
  return parts < 1 ? 1 : parts;
}

struct Job {
  int64_t count;
  Share shares[SQK_MOST_LAYERS];
  // The layer that this part belongs to; `part` becomes its number within that layer.
  const Share &owner(int64_t &part) const {
    const Share *share = shares;
    for (; part >= share->parts; share++) part -= share->parts;
    return *share;
  }
};

bool forward_part(void *context, int64_t part) {
  const Share &share = static_cast<const Job *>(context)->owner(part);
  const Lease memory;
  const NoDenormals flush;
  return memory && share.kernels->forward(share.call, share.packed, *memory, share.first(part),
                                          share.first(part + 1));
}

bool backward_part(void *context, int64_t part) {
  const Share &share = static_cast<const Job *>(context)->owner(part);
  const Lease memory;
  const NoDenormals flush;
  return memory && share.kernels->backward(share.call, share.packed,
                                           share.sums ? share.sums[part] : nullptr, *memory,
                                           share.first(part), share.first(part + 1));
}

int run(Job &job, Work work) {
  int64_t parts = 0;
  for (int64_t i = 0; i < job.count; i++) parts += job.shares[i].parts;
  return pool_run(parts, work, &job) ? SQK_OK : no_memory();
}

int check_count(int64_t count, const void *layers, const void *outputs) {
  if (int code = check_range("count", count, 1, SQK_MOST_LAYERS + 1)) return code;
  if (layers && outputs) return SQK_OK;
  return fail(SQK_BAD_ARGUMENT, "layers and outputs must be given");
}

// Splits the checked call of a layer.
void begin(Share &share) {
  share.kernels = &kernels_for(share.call.layer);
  share.parts = parts_of(share.call.layer);
  turn(share.call.layer, share.call.gradients);
}

int begin_forward(Share &share, Arena &memory) {
  begin(share);
  float *packed = memory.take(share.kernels->pack_floats(share.call.layer));
  if (!packed) return no_memory();
  share.kernels->pack(share.call.layer, packed);
  share.packed = packed;
  return SQK_OK;
}

int begin_backward(Share &share, Arena &memory) {
  begin(share);
  const Kernels &isa = *share.kernels;
  const sqk_layer &layer = share.call.layer;
  const sqk_gradients &to = share.call.gradients;
  float *packed = memory.take(isa.pack_back_floats(layer));
  if (to.dkernel || to.dbias || to.dpeephole || to.dnorm) {
    share.sums = memory.take_array<float *>(share.parts);
    for (int64_t part = 0; share.sums && part < share.parts; part++)
      share.sums[part] = memory.take(isa.sums_floats(layer));
  }
  if (memory.failed()) return no_memory();
  isa.pack_back(layer, packed);
  share.packed = packed;
  return SQK_OK;
}

int check_backward(Call &call, const sqk_gradients *gradients) {
  if (int code = take(call.gradients, gradients, "gradients")) return code;
  if (!call.outputs.y || (!call.outputs.workspace && saved_of(call.layer)))
    return fail(SQK_BAD_ARGUMENT, "y and workspace must be given, as forward left them");
  if (!call.gradients.dkernel != !call.gradients.drecurrent_kernel)
    return fail(SQK_BAD_ARGUMENT, "dkernel and drecurrent_kernel must be given together");
  return SQK_OK;
}

}  // namespace

// ---- the interface ------------------------------------------------------------------------------

struct sqk_packed {
  const Kernels *kernels;
  sqk_layer layer;
  float *weights;
};

extern "C" {

int64_t sqk_abi_version(void) { return SQK_ABI_VERSION; }
const char *sqk_last_error(void) { return the_error; }
const char *sqk_isa_name(void) { return kernels()->name; }

int64_t sqk_calls(int which) { return which == 0 || which == 1 ? the_calls[which].load() : 0; }

int sqk_set_isa(const char *name) {
  const Kernels *isa = named(name);
  if (!isa) return fail(SQK_UNSUPPORTED, "no kernels for %s on this machine", name ? name : "NULL");
  the_kernels.store(isa);
  return SQK_OK;
}

int64_t sqk_threads(void) { return pool_threads(); }

int sqk_set_threads(int64_t threads) {
  if (int code = check_range("threads", threads, 1, kMostWide)) return code;
  pool_set_threads(threads);
  return SQK_OK;
}

int64_t sqk_workspace_floats(const sqk_layer *layer) {
  sqk_layer mine;
  if (take(mine, layer, "layer") || check_kind(mine) || check_variant(mine) || check_sizes(mine))
    return -1;
  return workspace_floats(mine);
}

int sqk_forward(const sqk_layer *layer, const sqk_outputs *outputs) {
  return sqk_forward_all(1, &layer, &outputs);
}

int sqk_backward(const sqk_layer *layer, const sqk_outputs *outputs,
                 const sqk_gradients *gradients) {
  return sqk_backward_all(1, &layer, &outputs, &gradients);
}

int sqk_forward_all(int64_t count, const sqk_layer *const *layers,
                    const sqk_outputs *const *outputs) {
  if (int code = check_count(count, layers, outputs)) return code;
  Job job = {count, {}};
  for (int64_t i = 0; i < count; i++)
    if (int code = check_call(job.shares[i].call, layers[i], outputs[i])) return code;
  const Lease memory;
  if (!memory) return no_memory();
  for (int64_t i = 0; i < count; i++)
    if (int code = begin_forward(job.shares[i], *memory)) return code;
  if (int code = run(job, forward_part)) return code;
  the_calls[0]++;
  return SQK_OK;
}

int sqk_backward_all(int64_t count, const sqk_layer *const *layers,
                     const sqk_outputs *const *outputs, const sqk_gradients *const *gradients) {
  if (int code = check_count(count, layers, outputs)) return code;
  if (!gradients) return fail(SQK_BAD_ARGUMENT, "gradients must be given");
  Job job = {count, {}};
  for (int64_t i = 0; i < count; i++) {
    if (int code = check_call(job.shares[i].call, layers[i], outputs[i])) return code;
    if (int code = check_backward(job.shares[i].call, gradients[i])) return code;
  }
  const Lease memory;
  if (!memory) return no_memory();
  for (int64_t i = 0; i < count; i++)
    if (int code = begin_backward(job.shares[i], *memory)) return code;
  if (int code = run(job, backward_part)) return code;
  for (const Share &share : job.shares)
    if (share.sums) share.kernels->collect(share.call, share.sums, share.parts);
  the_calls[1]++;
  return SQK_OK;
}

int sqk_pack(const sqk_layer *layer, sqk_packed **to) {
  sqk_layer mine;
  if (!to) return fail(SQK_BAD_ARGUMENT, "packed must be given");
  *to = nullptr;
  if (int code = take(mine, layer, "layer")) return code;
  if (int code = check_kind(mine)) return code;
  if (has_zoneout(mine) || mine.peephole || mine.norm || mine.precision != SQK_FLOAT32)
    return fail(SQK_UNSUPPORTED,
                "single steps do not support zoneout, a peephole, normalization or bfloat16");
  mine.batch = mine.timesteps = 0;
  if (int code = check_sizes(mine)) return code;
  if (int code = check_weights(mine)) return code;
  mine.recurrent_dropout = nullptr;
  mine.reset = nullptr;
  sqk_packed *packed = static_cast<sqk_packed *>(malloc(sizeof(sqk_packed)));
  const Kernels &isa = kernels()[mine.cell];
  float *weights = memory_floats(isa.pack_floats(mine));
  if (!packed || !weights) {
    free(packed);
    memory_free(weights);
    return no_memory();
  }
  isa.pack(mine, weights);
  mine.kernel = mine.recurrent_kernel = mine.bias = mine.x = nullptr;
  *packed = {&isa, mine, weights};
  *to = packed;
  return SQK_OK;
}

void sqk_unpack(sqk_packed *packed) {
  if (!packed) return;
  memory_free(packed->weights);
  free(packed);
}

int sqk_packed_sizes(const sqk_packed *packed, int64_t *features, int64_t *units) {
  *features = packed->layer.features;
  *units = packed->layer.units;
  return packed->layer.cell == SQK_LSTM;
}

int sqk_step(const sqk_packed *packed, int64_t rows, const float *x, const float *h, const float *c,
             float *h_out, float *c_out) {
  if (!packed) return fail(SQK_BAD_ARGUMENT, "packed must be given");
  if (int code = check_range("rows", rows, 0, kMostLong)) return code;
  if (!rows) return SQK_OK;
  const bool has_c = packed->layer.cell == SQK_LSTM;
  if (!x || !h || !h_out || (has_c && (!c || !c_out)))
    return fail(SQK_BAD_ARGUMENT, "x, h, h_out, and for an LSTM c and c_out, must be given");
  const Lease memory;
  const NoDenormals flush;
  if (!memory || !packed->kernels->step(packed->layer, packed->weights, *memory, rows, x, h, c,
                                        h_out, c_out))
    return no_memory();
  return SQK_OK;
}

}  // extern "C"
