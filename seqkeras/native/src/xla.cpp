// Handlers for XLA's FFI, by which JAX calls the kernels: sqk_xla_forward and sqk_xla_backward.
// XLA's C interface is stable, and the parts in use are declared here: building needs no JAX.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "binding.h"

// ---- XLA's C interface --------------------------------------------------------------------------

extern "C" {

typedef struct XLA_FFI_Error XLA_FFI_Error;

struct XLA_FFI_Extension {
  size_t struct_size;
  int type;  // 1: a request for metadata
  XLA_FFI_Extension *next;
};

struct XLA_FFI_Api_Version {
  size_t struct_size;
  XLA_FFI_Extension *extension;
  int major, minor;
};

struct XLA_FFI_Error_Create_Args {
  size_t struct_size;
  XLA_FFI_Extension *extension;
  const char *message;
  int code;
};

struct XLA_FFI_Api {
  size_t struct_size;
  XLA_FFI_Extension *extension;
  XLA_FFI_Api_Version version;
  const void *internal;
  XLA_FFI_Error *(*create_error)(XLA_FFI_Error_Create_Args *);
};

struct XLA_FFI_Buffer {
  size_t struct_size;
  XLA_FFI_Extension *extension;
  int dtype;  // 1: bool, 11: float32
  void *data;
  int64_t rank;
  int64_t *dims;
};

struct XLA_FFI_Buffers {
  size_t struct_size;
  XLA_FFI_Extension *extension;
  int64_t size;
  int *types;  // 1: a buffer
  void **buffers;
};

struct XLA_FFI_ByteSpan {
  const char *data;
  size_t size;
};

struct XLA_FFI_Scalar {
  int dtype;  // 4: int32, 11: float32
  void *value;
};

struct XLA_FFI_Attributes {
  size_t struct_size;
  XLA_FFI_Extension *extension;
  int64_t size;
  int *types;  // 3: a scalar
  XLA_FFI_ByteSpan **names;
  void **values;
};

struct XLA_FFI_CallFrame {
  size_t struct_size;
  XLA_FFI_Extension *extension;
  const XLA_FFI_Api *api;
  void *context;
  int stage;
  XLA_FFI_Buffers arguments, results;
  XLA_FFI_Attributes attributes;
};

struct XLA_FFI_Metadata {
  size_t struct_size;
  XLA_FFI_Api_Version version;
  uint32_t traits;
};

struct XLA_FFI_Metadata_Extension {
  XLA_FFI_Extension base;
  XLA_FFI_Metadata *metadata;
};

}  // extern "C"

namespace {

constexpr int kMetadata = 1, kBuffer = 1, kScalar = 3;
constexpr int kBool = 1, kInt32 = 4, kFloat = 11;

constexpr binding::Core kCore = {sqk_forward_all, sqk_backward_all, sqk_workspace_floats,
                                 sqk_last_error};

class Frame {
 public:
  explicit Frame(XLA_FFI_CallFrame *frame) : frame_(*frame) {}

  bool input(int slot, binding::Tensor *tensor) {
    const binding::Slot &kind = binding::kSlots[slot];
    const int dtype = kind.is_bool ? kBool : kFloat;
    const XLA_FFI_Buffer *buffer = take(frame_.arguments, next_input_++, dtype);
    if (!buffer) {
      char words[100];
      snprintf(words, sizeof words, "%s must be %s", kind.name, kind.is_bool ? "bool" : "float32");
      fail(binding::kInvalidArgument, words);
      return false;
    }
    tensor->data = buffer->data;
    tensor->rank = static_cast<int>(buffer->rank);
    for (int axis = 0; axis < tensor->rank && axis < binding::kMostRank; axis++)
      tensor->dims[axis] = buffer->dims[axis];
    return true;
  }

  float *output(int rank, const int64_t *dims) {
    const XLA_FFI_Buffer *buffer = take(frame_.results, next_output_++, kFloat);
    bool same = buffer && buffer->rank == rank;
    for (int axis = 0; same && axis < rank; axis++) same = buffer->dims[axis] == dims[axis];
    if (same) return static_cast<float *>(binding::there(buffer->data));
    fail(binding::kInvalidArgument, "a result has the wrong type or shape");
    return nullptr;
  }

  float *saved(int64_t floats) { return output(1, &floats); }

  void fail(int code, const char *words) {
    XLA_FFI_Error_Create_Args args = {sizeof args, nullptr, words, code};
    if (!error_) error_ = frame_.api->create_error(&args);
  }

  bool options(binding::Options &options) {
    for (const binding::Attribute &wanted : binding::kAttributes) {
      const void *value = attribute(wanted.name, wanted.is_float ? kFloat : kInt32);
      if (!value) return false;
      memcpy(reinterpret_cast<char *>(&options) + wanted.offset, value, 4);
    }
    return true;
  }

  XLA_FFI_Error *error() const { return error_; }

 private:
  // Null where there is no such buffer.
  static const XLA_FFI_Buffer *take(const XLA_FFI_Buffers &all, int64_t index, int dtype) {
    if (index >= all.size || all.types[index] != kBuffer) return nullptr;
    const XLA_FFI_Buffer *buffer = static_cast<XLA_FFI_Buffer *>(all.buffers[index]);
    return buffer->dtype == dtype ? buffer : nullptr;
  }

  const void *attribute(const char *name, int dtype) {
    const XLA_FFI_Attributes &all = frame_.attributes;
    for (int64_t i = 0; i < all.size; i++) {
      const XLA_FFI_ByteSpan &span = *all.names[i];
      if (span.size != strlen(name) || memcmp(span.data, name, span.size)) continue;
      if (all.types[i] != kScalar) break;
      const XLA_FFI_Scalar *scalar = static_cast<XLA_FFI_Scalar *>(all.values[i]);
      if (scalar->dtype == dtype) return scalar->value;
    }
    fail(binding::kInvalidArgument, "an attribute is missing or has the wrong type");
    return nullptr;
  }

  XLA_FFI_CallFrame &frame_;
  int64_t next_input_ = 0, next_output_ = 0;
  XLA_FFI_Error *error_ = nullptr;
};

// Tells XLA its own version of the interface: the parts in use are the same in all versions.
bool tells_metadata(XLA_FFI_CallFrame *frame) {
  XLA_FFI_Extension *extension = frame->extension;
  if (!extension || extension->type != kMetadata) return false;
  XLA_FFI_Metadata *metadata = reinterpret_cast<XLA_FFI_Metadata_Extension *>(extension)->metadata;
  metadata->version.major = frame->api ? frame->api->version.major : 0;
  metadata->version.minor = frame->api ? frame->api->version.minor : 1;
  metadata->traits = 0;
  return true;
}

XLA_FFI_Error *run(XLA_FFI_CallFrame *call, void (binding::Call<Frame>::*work)()) {
  if (tells_metadata(call)) return nullptr;
  Frame frame(call);
  binding::Options options;
  if (frame.options(options)) (binding::Call<Frame>(frame, options, kCore).*work)();
  return frame.error();
}

}  // namespace

extern "C" {

SQK_EXPORT XLA_FFI_Error *sqk_xla_forward(XLA_FFI_CallFrame *frame) {
  return run(frame, &binding::Call<Frame>::forward);
}

SQK_EXPORT XLA_FFI_Error *sqk_xla_backward(XLA_FFI_CallFrame *frame) {
  return run(frame, &binding::Call<Frame>::backward);
}

}  // extern "C"
