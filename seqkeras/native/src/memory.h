// Memory that each thread keeps from call to call.
#pragma once

#include <stdint.h>

// Floats at a 64-byte boundary, or null.
float *memory_floats(int64_t floats);
void memory_free(float *memory);

// The memory of a thread. Pieces are taken one after the other, and returned all at once when the
// use that took them ends.
class Arena {
 public:
  // `floats` floats at a 64-byte boundary; or null, and then sets `failed`.
  float *take(int64_t floats);
  // Always inline: kernels call it, and the linker must not keep the copy of one of them for all.
  template <class T>
  __attribute__((always_inline)) T *take_array(int64_t count) {
    return reinterpret_cast<T *>(take((count * static_cast<int64_t>(sizeof(T)) + 3) / 4));
  }
  bool failed() const { return failed_; }
  // Uses nest: a thread that has begun a call works on parts of it. `begin` returns what `end` asks
  // for.
  int64_t begin();
  void end(int64_t mark);
  ~Arena();

 private:
  struct Overflow;  // a piece that did not fit; the next use has room for all of them
  void reset();
  float *memory_ = nullptr;
  int64_t size_ = 0, used_ = 0, peak_ = 0, depth_ = 0;
  Overflow *overflow_ = nullptr;
  bool failed_ = false;
};

// The memory of this thread; null if there is not even room for this object.
Arena *arena();

// Its use by one call, or by one part of a call.
class Lease {
 public:
  Lease() : arena_(arena()), mark_(arena_ ? arena_->begin() : 0) {}
  ~Lease() {
    if (arena_) arena_->end(mark_);
  }
  explicit operator bool() const { return arena_ != nullptr; }
  Arena *operator->() const { return arena_; }
  Arena &operator*() const { return *arena_; }

 private:
  Arena *arena_;
  int64_t mark_;
};
