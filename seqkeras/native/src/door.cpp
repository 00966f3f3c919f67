// The library as a Python module: a door to sqk_step without the cost of ctypes. All else goes
// through ctypes, on the same file. Only the stable ABI of Python 3.11 is used.
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "seqkeras_native.h"

static PyMethodDef methods[] = {{nullptr, nullptr, 0, nullptr}};
static PyModuleDef_Slot slots[] = {{0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", nullptr, 0, methods, slots,
                             nullptr, nullptr, nullptr};
PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&module); }
