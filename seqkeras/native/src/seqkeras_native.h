/* C interface of the native library: LSTM, GRU and SimpleRNN on a CPU, float32.
 *
 * It needs no framework, throws no exceptions, and only sqk_pack returns memory to be freed.
 * Weights are as Keras stores them: `kernel` (features, gates * units), `recurrent_kernel`
 * (units, gates * units), `bias` (gates * units), or (2, gates * units) for SQK_GRU_RESET_AFTER;
 * gates i f c o for the LSTM and z r h for the GRU. Arrays are dense and row-major unless strides
 * are given; strides count elements, and the last axis is always contiguous.
 *
 * Every function that returns an int returns SQK_OK or an error code; after an error,
 * sqk_last_error() returns the message for the calling thread. All functions except sqk_set_threads
 * and sqk_set_isa may be called from many threads at once.
 */
#ifndef SEQKERAS_NATIVE_H
#define SEQKERAS_NATIVE_H

#include <stdint.h>

#ifdef _WIN32
#define SQK_EXPORT __declspec(dllexport)
#else
#define SQK_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Increased when a function or a struct changes its meaning; structs may grow at their end. */
#define SQK_ABI_VERSION 3

enum sqk_error { SQK_OK = 0, SQK_BAD_ARGUMENT = 1, SQK_UNSUPPORTED = 2, SQK_NO_MEMORY = 3 };

enum sqk_cell { SQK_LSTM = 0, SQK_GRU = 1, SQK_GRU_RESET_AFTER = 2, SQK_SIMPLE_RNN = 3 };

/* LSTM and GRU support tanh; SimpleRNN tanh, relu and linear; gates sigmoid and hard_sigmoid. */
enum sqk_activation {
  SQK_TANH = 0,
  SQK_RELU = 1,
  SQK_LINEAR = 2,
  SQK_SIGMOID = 3,
  SQK_HARD_SIGMOID = 4
};

/* What y holds at a masked timestep. The state does not change there.
 * HOLD_OUTPUT: the previous output, zeros before the first one (Keras on TensorFlow and torch);
 * HOLD_STATE: the same, but the initial state before the first one (Keras on JAX);
 * ZERO: zeros (zero_output_for_mask). */
enum sqk_masked_output { SQK_HOLD_OUTPUT = 0, SQK_HOLD_STATE = 1, SQK_ZERO = 2 };

/* How products are computed. Sums, states and everything else are always float32. BFLOAT16 rounds
 * the factors; it is rejected for SQK_GRU, and on processors without instructions for it. */
enum sqk_precision { SQK_FLOAT32 = 0, SQK_BFLOAT16 = 1 };

/* A layer and its inputs, for forward and backward. Optional members may be NULL or 0. */
typedef struct sqk_layer {
  int64_t struct_size; /* sizeof(sqk_layer) */
  int32_t cell, activation, recurrent_activation, masked_output;
  int32_t go_backwards; /* reads x, mask, reset from the last timestep; y is in that order */
  int32_t reserved;     /* 0 */
  int64_t threads;      /* most parts to split the batch into; 0: sqk_threads() */
  int64_t batch, timesteps, features, units;
  const float *x; /* (batch, timesteps, features) */
  int64_t x_batch_stride, x_time_stride;
  const float *kernel, *recurrent_kernel;
  const float *bias;   /* or NULL */
  const float *h0;     /* (batch, units), or NULL for zeros */
  const float *c0;     /* the same, only for an LSTM */
  const uint8_t *mask; /* (batch, timesteps), 0 is masked; or NULL. x is not read where masked. */
  int64_t mask_batch_stride, mask_time_stride;
  /* (gates, batch, units), or NULL: factors of h in the product with each gate's part of the
   * recurrent kernel, 0 or 1 / (1 - rate). They are the same for all timesteps, as in Keras. */
  const float *recurrent_dropout;
  /* (batch, timesteps), or NULL: where it is not 0, h, c and the previous output of the row become
   * zeros before it reads the timestep, masked or not; at the first timestep read, this discards h0
   * and c0. No gradient crosses a reset. */
  const uint8_t *reset;
  int64_t reset_batch_stride, reset_time_stride;
  /* Zoneout: h, and c of an LSTM, keep a part of their old values: rate * old + (1 - rate) * new.
   * With masks (dense, (batch, timesteps, units), in the order of x), old values stay where a mask
   * is not 0, and the rates are ignored; an LSTM needs both masks or neither. An LSTM's new h is
   * computed from c after zoneout. */
  float zoneout_h, zoneout_c;
  const uint8_t *zoneout_h_mask, *zoneout_c_mask;
  /* (3, units), only for an LSTM, or NULL: factors of c in the sums of gates i and f, which read
   * the previous c, and of gate o, which reads the new c. */
  const float *peephole;
  /* (10, units), only for an LSTM, or NULL: layer normalization of each timestep,
   *     sums = norm(x kernel) * norm[0:4] + norm(h recurrent_kernel) * norm[4:8] + bias,
   *     h = o * tanh(norm(c) * norm[8] + norm[9]),
   * where norm(v) = (v - mean(v)) / sqrt(variance(v) + norm_epsilon), over all 4 * units sums, or
   * over the units of c. c itself is passed on unnormalized. Not supported with a peephole. */
  const float *norm;
  float norm_epsilon;
  int32_t precision;
} sqk_layer;

/* What forward writes. Any pointer may be NULL, but y is required with a workspace. */
typedef struct sqk_outputs {
  int64_t struct_size; /* sizeof(sqk_outputs) */
  float *y;            /* (batch, timesteps, units) */
  int64_t y_batch_stride, y_time_stride;
  float *last;      /* (batch, units): y at the last timestep */
  float *h_n, *c_n; /* (batch, units): the state at the end */
  float *workspace; /* for training: saves what backward needs; NULL: saves nothing */
  int64_t workspace_floats;
} sqk_outputs;

/* Gradients to outputs are read, NULL for zeros; those to inputs are written, NULL to skip. */
typedef struct sqk_gradients {
  int64_t struct_size; /* sizeof(sqk_gradients) */
  const float *dy;
  int64_t dy_batch_stride, dy_time_stride;
  const float *dlast, *dh_n, *dc_n;
  float *dx; /* its strides may differ from those of x */
  int64_t dx_batch_stride, dx_time_stride;
  float *dkernel, *drecurrent_kernel, *dbias; /* both kernels or neither */
  float *dh0, *dc0;
  float *dpeephole, *dnorm;
} sqk_gradients;

SQK_EXPORT int64_t sqk_abi_version(void);
SQK_EXPORT const char *sqk_last_error(void);

/* "avx512", "avx2", "sse2", "neon" or "generic". The environment variable SEQKERAS_ISA, or
 * sqk_set_isa (for tests), may choose a lower one than the machine supports. */
SQK_EXPORT const char *sqk_isa_name(void);
SQK_EXPORT int sqk_set_isa(const char *name);

/* Threads that work on a call, including the caller: by default SEQKERAS_THREADS, or all cores. */
SQK_EXPORT int64_t sqk_threads(void);
SQK_EXPORT int sqk_set_threads(int64_t threads);

/* Number of successful calls by all threads since the library was loaded: of sqk_forward and
 * sqk_forward_all (which = 0), or of sqk_backward and sqk_backward_all (which = 1). */
SQK_EXPORT int64_t sqk_calls(int which);

/* Number of floats in a workspace for this layer; -1 for an error. It depends on which pointers are
 * NULL, but not on what they point to. The rows of the batch follow one another in a workspace, with
 * the same number of floats each: JAX splits it by rows. */
SQK_EXPORT int64_t sqk_workspace_floats(const sqk_layer *layer);

/* Outputs are bit-identical for any number of threads. */
SQK_EXPORT int sqk_forward(const sqk_layer *layer, const sqk_outputs *outputs);

/* Pass `layer` and `outputs` of the call of sqk_forward, with y and workspace as it wrote them.
 * Gradients are bit-identical for the same number of threads. */
SQK_EXPORT int sqk_backward(const sqk_layer *layer, const sqk_outputs *outputs,
                            const sqk_gradients *gradients);

/* Run up to two layers at once, such as both directions of a bidirectional layer. Results are those
 * of the functions above. The layers share the threads, which a small batch of a single layer would
 * not keep busy. No layer may read what the other writes. */
#define SQK_MOST_LAYERS 2
SQK_EXPORT int sqk_forward_all(int64_t count, const sqk_layer *const *layers,
                               const sqk_outputs *const *outputs);
SQK_EXPORT int sqk_backward_all(int64_t count, const sqk_layer *const *layers,
                                const sqk_outputs *const *outputs,
                                const sqk_gradients *const *gradients);

/* Pack a layer for single steps; free it with sqk_unpack. Copies cell, activations, features, units
 * and weights of `layer`. Layers with zoneout, a peephole, normalization or products in
 * bfloat16 are rejected. */
typedef struct sqk_packed sqk_packed;
SQK_EXPORT int sqk_pack(const sqk_layer *layer, sqk_packed **packed);
SQK_EXPORT void sqk_unpack(sqk_packed *packed);
/* Sets features and units; returns 1 for an LSTM, whose state includes c, else 0. */
SQK_EXPORT int sqk_packed_sizes(const sqk_packed *packed, int64_t *features, int64_t *units);

/* Compute one timestep, in the calling thread: x (rows, features), h and c (rows, units).
 * h_out may be h, and c_out may be c; c and c_out are NULL except for an LSTM.
 * Allocates nothing after the first call of a thread. */
SQK_EXPORT int sqk_step(const sqk_packed *packed, int64_t rows, const float *x, const float *h,
                        const float *c, float *h_out, float *c_out);

#ifdef __cplusplus
}
#endif
#endif
