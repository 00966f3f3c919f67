// The operations SeqkerasForward and SeqkerasBackward of TensorFlow. They only use TensorFlow's C
// interface, which is the same in all its releases. The parts in use are declared here, and looked
// up when this library is loaded: TensorFlow is neither needed to build nor linked.
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "binding.h"

// ---- TensorFlow's C interface -------------------------------------------------------------------

extern "C" {
typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_KernelBuilder TF_KernelBuilder;
typedef struct TF_OpKernelConstruction TF_OpKernelConstruction;
typedef struct TF_OpKernelContext TF_OpKernelContext;
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
typedef struct TF_ShapeInferenceContext TF_ShapeInferenceContext;
typedef void *(*TF_Create)(TF_OpKernelConstruction *);
typedef void (*TF_Compute)(void *, TF_OpKernelContext *);
typedef void (*TF_Delete)(void *);
typedef void (*TF_Infer)(TF_ShapeInferenceContext *, TF_Status *);
}

#define TF_FUNCTIONS(X)                                                                         \
  X(TF_Status *, NewStatus, (void))                                                             \
  X(void, DeleteStatus, (TF_Status *))                                                          \
  X(int, GetCode, (const TF_Status *))                                                          \
  X(const char *, Message, (const TF_Status *))                                                 \
  X(void, SetStatus, (TF_Status *, int, const char *))                                          \
  X(int, NumDims, (const TF_Tensor *))                                                          \
  X(int64_t, Dim, (const TF_Tensor *, int))                                                     \
  X(void *, TensorData, (const TF_Tensor *))                                                    \
  X(void, DeleteTensor, (TF_Tensor *))                                                          \
  X(TF_OpDefinitionBuilder *, NewOpDefinitionBuilder, (const char *))                           \
  X(void, OpDefinitionBuilderAddInput, (TF_OpDefinitionBuilder *, const char *))                \
  X(void, OpDefinitionBuilderAddOutput, (TF_OpDefinitionBuilder *, const char *))               \
  X(void, OpDefinitionBuilderAddAttr, (TF_OpDefinitionBuilder *, const char *))                 \
  X(void, OpDefinitionBuilderSetShapeInferenceFunction, (TF_OpDefinitionBuilder *, TF_Infer))   \
  X(void, RegisterOpDefinition, (TF_OpDefinitionBuilder *, TF_Status *))                        \
  X(void, ShapeInferenceContextSetUnknownShape, (TF_ShapeInferenceContext *, TF_Status *))      \
  X(TF_KernelBuilder *, NewKernelBuilder,                                                       \
    (const char *, const char *, TF_Create, TF_Compute, TF_Delete))                             \
  X(void, RegisterKernelBuilder, (const char *, TF_KernelBuilder *, TF_Status *))               \
  X(void, OpKernelConstruction_GetAttrInt32,                                                    \
    (TF_OpKernelConstruction *, const char *, int32_t *, TF_Status *))                          \
  X(void, OpKernelConstruction_GetAttrFloat,                                                    \
    (TF_OpKernelConstruction *, const char *, float *, TF_Status *))                            \
  X(void, OpKernelConstruction_Failure, (TF_OpKernelConstruction *, TF_Status *))               \
  X(void, OpKernelContext_Failure, (TF_OpKernelContext *, TF_Status *))                         \
  X(void, GetInput, (TF_OpKernelContext *, int, TF_Tensor **, TF_Status *))                     \
  X(TF_Tensor *, AllocateOutput,                                                                \
    (TF_OpKernelContext *, int, int, const int64_t *, int, size_t, TF_Status *))

namespace {

constexpr int kFloat = 1, kInt32 = 3;

struct Tensorflow {
#define X(result, name, arguments) result(*name) arguments;
  TF_FUNCTIONS(X)
#undef X
} tf;

// Set by seqkeras_tensorflow_connect.
binding::Core the_core = {};

// Why the operations are missing, or an empty string.
char the_trouble[256] = "";

class Status {
 public:
  Status() : status_(tf.NewStatus()) {}
  ~Status() { tf.DeleteStatus(status_); }
  operator TF_Status *() const { return status_; }
  bool good() const { return tf.GetCode(status_) == 0; }

 private:
  TF_Status *status_;
};

class Frame {
 public:
  Frame(TF_OpKernelContext *context, const binding::Options &options) : context_(context) {
    // Inputs are floats, then bools, then what was saved, each of all layers.
    int floats = 0, bools = 0;
    for (int slot = 0; slot < binding::kCount; slot++) {
      const bool given = slot != binding::SAVED && (options.given >> slot & 1);
      (binding::kSlots[slot].is_bool ? bools : floats) += given;
    }
    next_bool_ = floats * options.directions;
    next_saved_ = next_bool_ + bools * options.directions;
  }

  ~Frame() {
    while (held_) tf.DeleteTensor(tensors_[--held_]);
  }

  bool input(int slot, binding::Tensor *to) {
    int &next = slot == binding::SAVED            ? next_saved_
                : binding::kSlots[slot].is_bool ? next_bool_
                                                : next_float_;
    TF_Tensor *tensor = nullptr;
    tf.GetInput(context_, next++, &tensor, status_);
    if (!hold(tensor)) return false;
    to->data = tf.TensorData(tensor);
    to->rank = tf.NumDims(tensor);
    for (int axis = 0; axis < to->rank && axis < binding::kMostRank; axis++)
      to->dims[axis] = tf.Dim(tensor, axis);
    return true;
  }

  float *output(int rank, const int64_t *dims) { return allocate(kFloat, rank, dims); }
  // Declared with a type that has no gradient, so TensorFlow does not make zeros for it.
  float *saved(int64_t floats) { return allocate(kInt32, 1, &floats); }

  void fail(int code, const char *words) {
    tf.SetStatus(status_, code, words);
    tf.OpKernelContext_Failure(context_, status_);
  }

 private:
  float *allocate(int type, int rank, const int64_t *dims) {
    size_t bytes = 4;
    for (int axis = 0; axis < rank; axis++) bytes *= static_cast<size_t>(dims[axis]);
    TF_Tensor *tensor =
        tf.AllocateOutput(context_, next_output_++, type, dims, rank, bytes, status_);
    return hold(tensor) ? static_cast<float *>(binding::there(tf.TensorData(tensor))) : nullptr;
  }

  bool hold(TF_Tensor *tensor) {
    if (tensor) tensors_[held_++] = tensor;
    if (tensor && status_.good()) return true;
    tf.OpKernelContext_Failure(context_, status_);
    return false;
  }

  TF_OpKernelContext *context_;
  Status status_;
  int next_float_ = 0, next_bool_ = 0, next_saved_ = 0, next_output_ = 0;
  int held_ = 0;
  TF_Tensor *tensors_[4 * binding::kCount];
};

void *create(TF_OpKernelConstruction *construction) {
  const Status status;
  auto *options = static_cast<binding::Options *>(calloc(1, sizeof(binding::Options)));
  for (const binding::Attribute &attribute : binding::kAttributes) {
    char *to = reinterpret_cast<char *>(options) + attribute.offset;
    if (attribute.is_float)
      tf.OpKernelConstruction_GetAttrFloat(construction, attribute.name,
                                           reinterpret_cast<float *>(to), status);
    else
      tf.OpKernelConstruction_GetAttrInt32(construction, attribute.name,
                                           reinterpret_cast<int32_t *>(to), status);
    if (status.good()) continue;
    tf.OpKernelConstruction_Failure(construction, status);
    break;
  }
  return options;
}

template <void (binding::Call<Frame>::*work)()>
void compute(void *kernel, TF_OpKernelContext *context) {
  const auto &options = *static_cast<const binding::Options *>(kernel);
  Frame frame(context, options);
  if (!the_core.forward) return frame.fail(binding::kUnimplemented, "seqkeras is not loaded");
  (binding::Call<Frame>(frame, options, the_core).*work)();
}

// The Python side sets the shapes: which outputs there are depends on numbers, which TensorFlow's C
// interface does not let a shape function read.
void infer(TF_ShapeInferenceContext *context, TF_Status *status) {
  tf.ShapeInferenceContextSetUnknownShape(context, status);
}

bool look_up() {
#ifdef __APPLE__
  const char *library = "libtensorflow_framework.2.dylib";
#else
  const char *library = "libtensorflow_framework.so.2";
#endif
  void *framework = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
  if (!framework) {
    snprintf(the_trouble, sizeof the_trouble, "%s is not loaded", library);
    return false;
  }
#define X(result, name, arguments)                                                           \
  tf.name = reinterpret_cast<result(*) arguments>(dlsym(framework, "TF_" #name));            \
  if (!tf.name) {                                                                            \
    snprintf(the_trouble, sizeof the_trouble, "%s has no function %s", library, "TF_" #name); \
    return false;                                                                            \
  }
  TF_FUNCTIONS(X)
#undef X
  return true;
}

struct Operation {
  const char *name;
  TF_Compute compute;
  const char *parts[5];  // inputs, and outputs after a '>'
};
constexpr Operation kOperations[] = {
    {"SeqkerasForward",
     compute<&binding::Call<Frame>::forward>,
     {"floats: F * float", "bools: B * bool", ">outputs: N * float", ">saved: S * int32", nullptr}},
    {"SeqkerasBackward",
     compute<&binding::Call<Frame>::backward>,
     {"floats: F * float", "bools: B * bool", "saved: S * int32", ">gradients: N * float",
      nullptr}},
};

void define(const Operation &operation, TF_Status *status) {
  TF_OpDefinitionBuilder *builder = tf.NewOpDefinitionBuilder(operation.name);
  for (const char *const *part = operation.parts; *part; part++) {
    if (**part == '>')
      tf.OpDefinitionBuilderAddOutput(builder, *part + 1);
    else
      tf.OpDefinitionBuilderAddInput(builder, *part);
  }
  for (const char *count : {"F: int >= 0", "B: int >= 0", "N: int >= 0", "S: int >= 0"})
    tf.OpDefinitionBuilderAddAttr(builder, count);
  for (const binding::Attribute &attribute : binding::kAttributes) {
    char words[64];
    snprintf(words, sizeof words, "%s: %s", attribute.name, attribute.is_float ? "float" : "int");
    tf.OpDefinitionBuilderAddAttr(builder, words);
  }
  tf.OpDefinitionBuilderSetShapeInferenceFunction(builder, infer);
  tf.RegisterOpDefinition(builder, status);
}

bool add(const Operation &operation) {
  const Status status;
  define(operation, status);
  if (status.good()) {
    TF_KernelBuilder *builder =
        tf.NewKernelBuilder(operation.name, "CPU", create, operation.compute, free);
    tf.RegisterKernelBuilder(operation.name, builder, status);
  }
  if (!status.good()) snprintf(the_trouble, sizeof the_trouble, "%s", tf.Message(status));
  return status.good();
}

// TensorFlow picks up the operations that a library registers while it is being loaded.
__attribute__((constructor)) void begin() {
  if (!look_up()) return;
  for (const Operation &operation : kOperations)
    if (!add(operation)) return;
}

}  // namespace

extern "C" {

// Why the operations are missing, or an empty string.
SQK_EXPORT const char *seqkeras_tensorflow_trouble(void) { return the_trouble; }

// The version of the structs that the operations fill.
SQK_EXPORT int64_t seqkeras_tensorflow_abi_version(void) { return SQK_ABI_VERSION; }

// Gives the operations the functions of the native library. Must be called before they are.
SQK_EXPORT void seqkeras_tensorflow_connect(void *forward, void *backward, void *workspace_floats,
                                            void *last_error) {
  the_core = {reinterpret_cast<decltype(&sqk_forward_all)>(forward),
              reinterpret_cast<decltype(&sqk_backward_all)>(backward),
              reinterpret_cast<decltype(&sqk_workspace_floats)>(workspace_floats),
              reinterpret_cast<decltype(&sqk_last_error)>(last_error)};
}

}  // extern "C"
