#include "memory.h"

#include <pthread.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <malloc.h>
#endif

#include <new>

namespace {

constexpr int64_t kLine = 16;        // floats of 64 bytes
constexpr int64_t kKept = 16 << 20;  // floats that a thread keeps from call to call

}  // namespace

float *memory_floats(int64_t floats) {
  const size_t bytes = static_cast<size_t>(floats < kLine ? kLine : floats) * 4;
#if defined(_WIN32)
  return static_cast<float *>(_aligned_malloc(bytes, 64));
#else
  void *memory = nullptr;
  return posix_memalign(&memory, 64, bytes) ? nullptr : static_cast<float *>(memory);
#endif
}

void memory_free(float *memory) {
#if defined(_WIN32)
  _aligned_free(memory);
#else
  free(memory);
#endif
}

struct Arena::Overflow {
  Overflow *next;
  float *memory;
};

float *Arena::take(int64_t floats) {
  floats = (floats + kLine - 1) / kLine * kLine;
  used_ += floats;
  if (used_ > peak_) peak_ = used_;
  if (used_ <= size_) return memory_ + used_ - floats;
  Overflow *piece = static_cast<Overflow *>(malloc(sizeof(Overflow)));
  float *memory = piece ? memory_floats(floats) : nullptr;
  if (!memory) {
    free(piece);
    failed_ = true;
    return nullptr;
  }
  *piece = {overflow_, memory};
  overflow_ = piece;
  return memory;
}

int64_t Arena::begin() {
  if (depth_++ == 0) failed_ = false;
  return used_;
}

void Arena::end(int64_t mark) {
  used_ = mark;
  if (--depth_ == 0 && overflow_) reset();
}

// Frees the pieces that did not fit, and makes room for as much as was used at one time.
void Arena::reset() {
  while (overflow_) {
    Overflow *piece = overflow_;
    overflow_ = piece->next;
    memory_free(piece->memory);
    free(piece);
  }
  if (peak_ <= size_ || peak_ > kKept) return;
  memory_free(memory_);
  memory_ = memory_floats(peak_);
  size_ = memory_ ? peak_ : 0;
}

Arena::~Arena() {
  peak_ = 0;
  reset();
  memory_free(memory_);
}

// A pthread key frees it when the thread ends: a C++ destructor would need the C++ runtime.
Arena *arena() {
  static pthread_key_t key;
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  static thread_local Arena *mine = nullptr;
  if (mine) return mine;
  pthread_once(&once, [] {
    pthread_key_create(&key, [](void *memory) {
      static_cast<Arena *>(memory)->~Arena();
      free(memory);
    });
  });
  void *memory = malloc(sizeof(Arena));
  if (!memory) return nullptr;
  mine = new (memory) Arena;
  pthread_setspecific(key, mine);
  return mine;
}
