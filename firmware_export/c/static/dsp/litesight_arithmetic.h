/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions of the DSP extension that the compiler has no function for. */
#ifndef LITESIGHT_ARITHMETIC_H
#define LITESIGHT_ARITHMETIC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* constant + a * b / 2^32, rounded, ties upwards */
static inline int32_t litesight_multiply_add_high(int32_t a, int32_t b, int32_t constant) {
  int32_t sum;
  __asm__("smmlar %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(constant));
  return sum;
}

/* value >> shift; only the lowest byte of `shift` counts. */
static inline int32_t litesight_shift_right(int32_t value, uint32_t shift) {
  int32_t shifted;
  __asm__("asr %0, %1, %2" : "=r"(shifted) : "r"(value), "r"(shift));
  return shifted;
}

/* value >> 1, saturated to int8. */
static inline int32_t litesight_saturate_half(int32_t value) {
  int32_t saturated;
  __asm__("ssat %0, #8, %1, asr #1" : "=r"(saturated) : "r"(value));
  return saturated;
}

static inline uint32_t litesight_bytes_0_2(uint32_t word) { return word & 0x00ff00ffu; }

static inline uint32_t litesight_bytes_1_3(uint32_t word) { return word >> 8 & 0x00ff00ffu; }

static inline uint32_t litesight_lower_halves(uint32_t low, uint32_t high) { return (low & 0xffffu) | high << 16; }

static inline uint32_t litesight_upper_halves(uint32_t low, uint32_t high) { return low >> 16 | (high & 0xffff0000u); }

#ifdef __cplusplus
}
#endif

#endif
