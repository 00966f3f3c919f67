// Vectors of SQK_LANES floats for the instruction set that this file is compiled for, and the
// functions on them that a recurrent cell needs. GCC's and Clang's vector extensions carry the
// arithmetic; intrinsics are used only where they save instructions in the activations.
//
// No standard header with inline functions may be included here: the linker would keep one copy of
// such a function for the whole library, perhaps the one compiled for AVX-512.
#pragma once

#include <stdint.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#define SQK_INLINE static inline __attribute__((always_inline))
#define SQK_INLINE_MEMBER inline __attribute__((always_inline))

namespace SQK_ISA {

constexpr int64_t kLanes = SQK_LANES;

typedef float Vec __attribute__((vector_size(4 * SQK_LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * SQK_LANES)));
typedef float VecAnywhere __attribute__((vector_size(4 * SQK_LANES), aligned(4), may_alias));

#if defined(__AVX512F__)
// The masked intrinsics, for all lanes: those without a mask read a variable that is never set, and
// GCC 12 warns about it. The machine code is the same.
constexpr __mmask16 kAll = 0xffff;
#endif

SQK_INLINE Vec load(const float *p) { return *reinterpret_cast<const VecAnywhere *>(p); }
SQK_INLINE void store(float *p, Vec v) { *reinterpret_cast<VecAnywhere *>(p) = v; }
SQK_INLINE Vec all(float value) { return value - Vec{}; }

// The first `count` lanes; the others are zeros, and memory beyond them is not touched.
SQK_INLINE Vec load_some(const float *p, int64_t count) {
  if (count >= kLanes) return load(p);
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_maskz_loadu_ps((1u << count) - 1, p));
#else
  Vec v = {};
  for (int64_t lane = 0; lane < count; lane++) v[lane] = p[lane];
  return v;
#endif
}

// 1 where a flag is not 0, else 0; the first `count` lanes, and zeros.
SQK_INLINE Vec load_flags(const uint8_t *flags, int64_t count) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm_maskz_loadu_epi8((1u << count) - 1, flags);
  return reinterpret_cast<Vec>(
      _mm512_maskz_mov_ps(_mm_test_epi8_mask(bytes, bytes), _mm512_set1_ps(1)));
#else
  Vec v = {};
  for (int64_t lane = 0; lane < count; lane++) v[lane] = flags[lane] ? 1.0f : 0.0f;
  return v;
#endif
}

SQK_INLINE void store_some(float *p, Vec v, int64_t count) {
  if (count >= kLanes) {
    store(p, v);
    return;
  }
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (1u << count) - 1, reinterpret_cast<__m512>(v));
#else
  for (int64_t lane = 0; lane < count; lane++) p[lane] = v[lane];
#endif
}

#if defined(__AVX512F__)
#define SQK_HAS_BFLOAT16 1
// Instructions of AVX512-BF16, in words of two bfloat16 each, the first in the low half. Written
// for the assembler, so that no other code of this file may use what few processors have.

// sum += the products of both halves of a and b
SQK_INLINE Vec add_products_of_halves(Vec sum, float a, Vec b) {
  const __m512 factor = _mm512_set1_ps(a);
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(b), "v"(factor));
  return sum;
}

SQK_INLINE __m256i rounded_to_halves(Vec v) {
  __m256i halves;
  __asm__("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(v));
  return halves;
}

// `count` floats to (count + 1) / 2 words; writes whole vectors of kLanes / 2 words.
SQK_INLINE void store_halves(float *to, const float *from, int64_t count) {
  for (int64_t k = 0; k < count; k += kLanes, to += kLanes / 2) {
    const Vec v = load_some(from + k, count - k);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), rounded_to_halves(v));
  }
}

// Words of the lanes of two vectors.
SQK_INLINE Vec paired(Vec low, Vec high) {
  const __m512i a = _mm512_maskz_cvtepu16_epi32(kAll, rounded_to_halves(low));
  const __m512i b = _mm512_maskz_cvtepu16_epi32(kAll, rounded_to_halves(high));
  return reinterpret_cast<Vec>(_mm512_or_si512(a, _mm512_maskz_slli_epi32(kAll, b, 16)));
}
#else
#define SQK_HAS_BFLOAT16 0
SQK_INLINE Vec add_products_of_halves(Vec sum, float, Vec) { return sum; }
SQK_INLINE void store_halves(float *, const float *, int64_t) {}
SQK_INLINE Vec paired(Vec low, Vec) { return low; }
#endif

// Both propagate a NaN in `a`: the instructions then return their second operand.
#if defined(__AVX512F__)
SQK_INLINE Vec at_most(Vec a, float limit) {
  const __m512 m = reinterpret_cast<__m512>(a);
  return reinterpret_cast<Vec>(_mm512_maskz_min_ps(kAll, _mm512_set1_ps(limit), m));
}
SQK_INLINE Vec at_least(Vec a, float limit) {
  const __m512 m = reinterpret_cast<__m512>(a);
  return reinterpret_cast<Vec>(_mm512_maskz_max_ps(kAll, _mm512_set1_ps(limit), m));
}
#elif defined(__AVX2__)
SQK_INLINE Vec at_most(Vec a, float limit) {
  return reinterpret_cast<Vec>(_mm256_min_ps(_mm256_set1_ps(limit), reinterpret_cast<__m256>(a)));
}
SQK_INLINE Vec at_least(Vec a, float limit) {
  return reinterpret_cast<Vec>(_mm256_max_ps(_mm256_set1_ps(limit), reinterpret_cast<__m256>(a)));
}
#else
SQK_INLINE Vec at_most(Vec a, float limit) { return a > all(limit) ? all(limit) : a; }
SQK_INLINE Vec at_least(Vec a, float limit) { return a < all(limit) ? all(limit) : a; }
#endif

// 2 ** fraction for a fraction in [0, 1): a polynomial with a relative error of 2e-7.
SQK_INLINE Vec exp2_fraction(Vec f) {
  Vec p = f * 1.87757641e-3f + 8.98934073e-3f;
  p = p * f + 5.58263175e-2f;
  p = p * f + 2.40153617e-1f;
  p = p * f + 6.93153073e-1f;
  return p * f + 9.99999925e-1f;
}

// 2 ** x. Above 126 it is 2 ** 126, so that the reciprocal below stays finite.
SQK_INLINE Vec exp2(Vec x) {
  x = at_most(x, 126.0f);
#if defined(__AVX512DQ__)
  const __m512 m = reinterpret_cast<__m512>(x);
  const Vec fraction = reinterpret_cast<Vec>(_mm512_maskz_reduce_ps(kAll, m, 1));  // x - floor(x)
  const __m512 power = reinterpret_cast<__m512>(exp2_fraction(fraction));
  return reinterpret_cast<Vec>(_mm512_maskz_scalef_ps(kAll, power, m));  // power * 2 ** floor(x)
#else
  x = at_least(x, -126.0f);
  // Adding 1.5 * 2 ** 23 leaves the nearest integer in the low bits; of x - 0.5 that is the floor
  // (for an integer perhaps one less: the fraction is then 1, which the polynomial bears).
  const Vec shifted = (x - 0.5f) + 12582912.0f;
  const Vec fraction = x - (shifted - 12582912.0f);
  const Vec power = exp2_fraction(fraction);
  const Vec result = reinterpret_cast<Vec>(reinterpret_cast<Ints>(power) +
                                           (reinterpret_cast<Ints>(shifted) << 23));
  return x == x ? result : x;  // the sum of integers may turn a NaN into a number
#endif
}

// 1 / d for d in [1, 2 ** 127].
SQK_INLINE Vec reciprocal(Vec d) {
#if defined(__AVX512F__)
  const Vec r = reinterpret_cast<Vec>(_mm512_maskz_rcp14_ps(kAll, reinterpret_cast<__m512>(d)));
  return r * (2.0f - d * r);  // one step of Newton: 14 bits become 23
#elif defined(__AVX2__)
  const Vec r = reinterpret_cast<Vec>(_mm256_rcp_ps(reinterpret_cast<__m256>(d)));
  return r * (2.0f - d * r);  // 12 bits become 23
#else
  return 1.0f / d;
#endif
}

SQK_INLINE Vec sigmoid(Vec x) { return reciprocal(1.0f + exp2(x * -1.44269504f)); }
SQK_INLINE Vec tanh(Vec x) { return 2.0f * reciprocal(1.0f + exp2(x * -2.88539008f)) - 1.0f; }

SQK_INLINE Vec hard_sigmoid(Vec x) {
  return at_least(at_most(x * (1.0f / 6) + 0.5f, 1.0f), 0.0f);
}

// Slopes, from the value `s` of the function, as in Keras: zero where it is clipped.
SQK_INLINE Vec sigmoid_slope(Vec s) { return s * (1.0f - s); }
SQK_INLINE Vec hard_sigmoid_slope(Vec s) {
  return ((s > 0.0f) & (s < 1.0f)) ? all(1.0f / 6) : Vec{};
}
SQK_INLINE Vec tanh_slope(Vec s) { return 1.0f - s * s; }

}  // namespace SQK_ISA
