// The library as a Python module, which calls sqk_step without the cost of ctypes. All other
// functions are called through ctypes, in the same file. Only the stable ABI of Python 3.11 is in
// use, so one file works with all later versions.
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "seqkeras_native.h"

namespace {

const char kCapsule[] = "seqkeras.native.packed";

// From this number of multiplications on, a step takes longer than releasing the interpreter.
constexpr int64_t kLong = 100000;

void unpack(PyObject *capsule) {
  sqk_unpack(static_cast<sqk_packed *>(PyCapsule_GetPointer(capsule, kCapsule)));
}

PyObject *refuse(int code) {
  PyObject *kind = code == SQK_UNSUPPORTED ? PyExc_NotImplementedError
                   : code == SQK_NO_MEMORY ? PyExc_MemoryError
                                           : PyExc_ValueError;
  return PyErr_Format(kind, "The native library rejected the call: %s.", sqk_last_error());
}

// pack(address of an sqk_layer) -> packed weights
PyObject *pack(PyObject *, PyObject *address) {
  const void *layer = PyLong_AsVoidPtr(address);
  if (!layer && PyErr_Occurred()) return nullptr;
  sqk_packed *packed;
  const int code = sqk_pack(static_cast<const sqk_layer *>(layer), &packed);
  if (code) return refuse(code);
  PyObject *capsule = PyCapsule_New(packed, kCapsule, unpack);
  if (!capsule) sqk_unpack(packed);
  return capsule;
}

// Views of arrays, all released at the end.
class Views {
 public:
  ~Views() {
    while (count_) PyBuffer_Release(&views_[--count_]);
  }

  // A dense float32 array of shape (rows, width), `rows` being set by the first array. Null: an
  // error is set.
  float *take(PyObject *array, const char *name, int64_t width, bool writable) {
    Py_buffer *view = &views_[count_];
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(array, view, flags)) return nullptr;
    count_++;
    const bool fits = view->ndim == 2 && view->shape[1] == width && view->format &&
                      view->format[0] == 'f' && view->format[1] == 0 &&
                      (count_ == 1 || view->shape[0] == rows);
    if (fits) {
      rows = view->shape[0];
      return static_cast<float *>(view->buf);
    }
    PyErr_Format(PyExc_ValueError,
                 "%s must be a float32 array of shape (rows, %lld), with as many rows as x", name,
                 static_cast<long long>(width));
    return nullptr;
  }

  int64_t rows = 0;

 private:
  Py_buffer views_[5];
  int count_ = 0;
};

// step(packed, x, h, h_out) or, for an LSTM, step(packed, x, h, c, h_out, c_out)
PyObject *step(PyObject *, PyObject *const *args, Py_ssize_t count) {
  if (count != 4 && count != 6) {
    PyErr_SetString(PyExc_TypeError, "a step takes x, h, h_out or x, h, c, h_out, c_out");
    return nullptr;
  }
  const auto *packed = static_cast<sqk_packed *>(PyCapsule_GetPointer(args[0], kCapsule));
  if (!packed) return nullptr;
  int64_t features, units;
  const bool has_c = sqk_packed_sizes(packed, &features, &units);
  if (has_c != (count == 6)) {
    PyErr_SetString(PyExc_TypeError, "only an LSTM has c and c_out, and it needs both");
    return nullptr;
  }
  Views views;
  const float *x = views.take(args[1], "x", features, false);
  const float *h = x ? views.take(args[2], "h", units, false) : nullptr;
  const float *c = h && has_c ? views.take(args[3], "c", units, false) : nullptr;
  if (!h || (has_c && !c)) return nullptr;
  float *h_out = views.take(args[has_c ? 4 : 3], "h_out", units, true);
  float *c_out = h_out && has_c ? views.take(args[5], "c_out", units, true) : nullptr;
  if (!h_out || (has_c && !c_out)) return nullptr;
  int code;
  if (views.rows * (features + units) * units < kLong) {
    code = sqk_step(packed, views.rows, x, h, c, h_out, c_out);
  } else {
    Py_BEGIN_ALLOW_THREADS
    code = sqk_step(packed, views.rows, x, h, c, h_out, c_out);
    Py_END_ALLOW_THREADS
  }
  if (code) return refuse(code);
  Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"pack", pack, METH_O, "pack(address of an sqk_layer): its weights, ready for step"},
    {"step", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(step)), METH_FASTCALL,
     "step(packed, x, h, h_out) or step(packed, x, h, c, h_out, c_out): one timestep"},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef_Slot slots[] = {{0, nullptr}};
PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", nullptr, 0, methods, slots,
                      nullptr,               nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&module); }
