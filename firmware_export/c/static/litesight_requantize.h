/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From accumulators to int8, bit for bit as TensorFlow Lite Micro does it: two roundings, one after the multiplication
 * and one after the shift. See tensorflow/lite/kernels/internal/common.cc, MultiplyByQuantizedMultiplier.
 */
#ifndef LITESIGHT_REQUANTIZE_H
#define LITESIGHT_REQUANTIZE_H

#include <stdint.h>

#include "litesight_layer.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * a * multiplier / 2^31, rounded, ties upwards. The multiplier is not negative, so that the product of two INT32_MIN,
 * which TFLM saturates, cannot occur.
 */
static inline int32_t litesight_multiply_high(int32_t a, int32_t multiplier) {
  return (int32_t)(((int64_t)a * multiplier + (1 << 30)) >> 31);
}

/*
 * value / 2^shift, rounded, ties away from zero; shift is 0 to 31 and value not INT32_MIN.
 * In two shifts, because value + 2^(shift - 1) may exceed 32 bits.
 */
static inline int32_t litesight_divide_by_power_of_two(int32_t value, int32_t shift) {
  if (shift == 0) {
    return value;
  }
  return (((value - (value < 0)) >> (shift - 1)) + 1) >> 1;
}

/* TFLM shifts to the left before it multiplies; what leaves 32 bits there is lost, without undefined behaviour here. */
static inline int32_t litesight_rescale(int32_t value, int32_t multiplier, int32_t right_shift) {
  if (right_shift < 0) {
    return litesight_multiply_high((int32_t)((uint32_t)value << -right_shift), multiplier);
  }
  return litesight_divide_by_power_of_two(litesight_multiply_high(value, multiplier), right_shift);
}

static inline int8_t litesight_clamp(int32_t value, int32_t minimum, int32_t maximum) {
  const int32_t raised = value < minimum ? minimum : value;
  return (int8_t)(raised > maximum ? maximum : raised);
}

/* The output of one accumulator: rescaled, the output's zero point added, clamped. */
static inline int8_t litesight_requantize(int32_t accumulator, litesight_scale scale, int32_t zero_point,
                                          int32_t minimum, int32_t maximum) {
  return litesight_clamp(litesight_rescale(accumulator, scale.multiplier, scale.shift) + zero_point, minimum, maximum);
}

#ifdef __cplusplus
}
#endif

#endif
