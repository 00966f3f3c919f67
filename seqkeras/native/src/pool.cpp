#include "pool.h"

#include <cstdio>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <windows.h>
#else
#include <unistd.h>
#endif

#include <atomic>
#include <new>

// Only POSIX threads, so the library needs no C++ runtime.
namespace {

constexpr int64_t kMostThreads = 256;

class Lock {
 public:
  explicit Lock(pthread_mutex_t &mutex) : mutex_(mutex) { pthread_mutex_lock(&mutex_); }
  ~Lock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t &mutex_;
};

void breathe() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

struct Pool {
  // One call at a time has the helpers; held from its start to its end.
  pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
  // Guards all members that are not atomic.
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
  Work work = nullptr;
  void *context = nullptr;
  int64_t parts = 0, helpers = 0, inside = 0;
  uint64_t generation = 0;
  std::atomic<int64_t> next{0}, left{0};
  std::atomic<bool> good{true};

  void take_parts() {
    for (int64_t part; (part = next.fetch_add(1)) < parts;) {
      if (!work(context, part)) good = false;
      left.fetch_sub(1);
    }
  }

  void serve() {
    uint64_t seen = 0;
    pthread_mutex_lock(&mutex);
    for (;;) {
      while (generation == seen) pthread_cond_wait(&wake, &mutex);
      seen = generation;
      if (!left) continue;  // woke too late: nothing is left to do
      inside++;
      pthread_mutex_unlock(&mutex);
      take_parts();
      pthread_mutex_lock(&mutex);
      if (--inside == 0) pthread_cond_signal(&done);
    }
  }

  // If the machine allows no more threads, the existing ones do the work.
  void grow(int64_t wanted) {
    for (; helpers < wanted; helpers++) {
      pthread_t thread;
      const auto main = [](void *pool) -> void * {
        static_cast<Pool *>(pool)->serve();
        return nullptr;
      };
      if (pthread_create(&thread, nullptr, main, this)) return;
      pthread_detach(thread);
    }
  }

  bool run(int64_t count, Work new_work, void *new_context, int64_t threads) {
    grow((count < threads ? count : threads) - 1);
    {
      Lock lock(mutex);
      work = new_work;
      context = new_context;
      parts = count;
      left = count;
      next = 0;
      good = true;
      generation++;
    }
    pthread_cond_broadcast(&wake);
    take_parts();
    // The others end at about the same time: spin for a short while, then sleep.
    for (int i = 0; i < 4000 && left; i++) breathe();
    Lock lock(mutex);
    while (left || inside) pthread_cond_wait(&done, &mutex);
    return good;
  }
};

bool run_alone(int64_t parts, Work work, void *context) {
  bool good = true;
  for (int64_t part = 0; part < parts; part++) good &= work(context, part);
  return good;
}

// Never freed: threads may be asleep in it when the process ends.
std::atomic<Pool *> the_pool{nullptr};
std::atomic<int64_t> the_threads{0};

#if !defined(_WIN32)
// A forked process has the memory of the pool, but none of its threads. It makes a new pool and
// abandons the old one, whose locks may be held by threads that no longer exist.
void after_fork() { the_pool = nullptr; }
#endif

Pool *pool() {
  if (Pool *now = the_pool) return now;
#if !defined(_WIN32)
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, [] { pthread_atfork(nullptr, nullptr, after_fork); });
#endif
  void *memory = malloc(sizeof(Pool));
  if (!memory) return nullptr;
  Pool *fresh = new (memory) Pool, *none = nullptr;
  if (the_pool.compare_exchange_strong(none, fresh)) return fresh;
  free(memory);  // another thread was first
  return none;
}

#if defined(__linux__)
// Cores whose time a container may use, rounded up; all of them if it has no limit.
int64_t cores_of_container(int64_t all) {
  FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
  if (!file) return all;
  long quota = 0, period = 0;
  const bool limited = fscanf(file, "%ld %ld", &quota, &period) == 2;  // else "max", not a number
  fclose(file);
  if (!limited || quota < 1 || period < 1) return all;
  const int64_t cores = (quota + period - 1) / period;
  return cores < all ? cores : all;
}
#endif

int64_t threads_of_machine() {
  if (const char *words = getenv("SEQKERAS_THREADS")) {
    char *end = nullptr;
    const long asked = strtol(words, &end, 10);
    if (end != words && *end == 0 && asked >= 1) return asked;
  }
#if defined(__linux__)
  cpu_set_t allowed;  // by taskset, or the cores given to a container
  if (!sched_getaffinity(0, sizeof allowed, &allowed))
    return cores_of_container(CPU_COUNT(&allowed));
#endif
#if defined(_WIN32)
  const int64_t cores = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
#else
  const int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
#endif
  return cores < 1 ? 1 : cores;
}

}  // namespace

int64_t pool_threads() {
  int64_t threads = the_threads;
  if (!threads) pool_set_threads(threads = threads_of_machine());
  return threads < kMostThreads ? threads : kMostThreads;
}

void pool_set_threads(int64_t threads) {
  the_threads = threads < kMostThreads ? threads : kMostThreads;
}

bool pool_run(int64_t parts, Work work, void *context) {
  const int64_t threads = pool_threads();
  Pool *helpers = parts > 1 && threads > 1 ? pool() : nullptr;
  if (!helpers || pthread_mutex_trylock(&helpers->busy)) return run_alone(parts, work, context);
  const bool good = helpers->run(parts, work, context, threads);
  pthread_mutex_unlock(&helpers->busy);
  return good;
}
