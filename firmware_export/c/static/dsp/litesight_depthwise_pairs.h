/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LITESIGHT_DEPTHWISE_PAIRS_H
#define LITESIGHT_DEPTHWISE_PAIRS_H

#include <arm_acle.h>
#include <stdint.h>

#include "litesight_arithmetic.h"

#ifdef __cplusplus
extern "C" {
#endif

/* zero is added to both halves. */
static inline int32_t litesight_values_0_2(int32_t zero, uint32_t word) { return __sxtab16(zero, (int32_t)word); }

static inline int32_t litesight_values_1_3(int32_t zero, uint32_t word) {
  int32_t pair;
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(pair) : "r"(zero), "r"(word));
  return pair;
}

static inline int32_t litesight_weights_0_2(uint32_t word) { return __sxtb16((int32_t)word); }

static inline int32_t litesight_weights_1_3(uint32_t word) {
  int32_t pair;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

static inline int8_t litesight_depthwise_output(int32_t accumulator, uint32_t exponent, int32_t multiplier,
                                                int32_t constant, int32_t is_linear) {
  const int32_t doubled = 2 * accumulator;
  int32_t value = litesight_multiply_add_high(doubled, multiplier, constant);
  if (is_linear) {
    value += doubled >> 31;
  }
  return (int8_t)litesight_saturate_half(litesight_shift_right(value, exponent));
}

#ifdef __cplusplus
}
#endif

#endif
