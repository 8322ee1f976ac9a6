/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Softmax as TensorFlow Lite Micro computes it, in fixed point. A number "Qm.n" is an int32 in units of 2^-n. See
 * tensorflow/lite/kernels/internal/reference/softmax.h, and gemmlowp's fixedpoint.h for the reciprocal.
 */
#include "litesight_layer.h"
#include "litesight_requantize.h"

enum { SUM_FRACTION_BITS = 19, ONE_Q2_29 = 1 << 29, LARGEST_SHIFT = 31 };

static int32_t saturate(int64_t value) {
  if (value > INT32_MAX) {
    return INT32_MAX;
  }
  return value < INT32_MIN ? INT32_MIN : (int32_t)value;
}

static uint32_t leading_zeros(uint32_t value) {
  uint32_t zeros = 0;
  for (; zeros < 32u && (value & 0x80000000u) == 0; ++zeros) {
    value <<= 1;
  }
  return zeros;
}

/* 1 / (1 + x) by Newton's iteration, both Q0.31, 0 <= x < 1. Multiplying Qa by Qb gives Q(a + b). */
static int32_t reciprocal_of_one_plus(int32_t x) {
  /* (1 + x) / 2, rounded; 1 is INT32_MAX here. */
  const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
  /* 48/17 - 32/17 * half in Q2.29, the line that fits 1 / half best. */
  int32_t estimate = 1515870810 + litesight_multiply_high(half, -1010580540);
  for (int i = 0; i < 3; ++i) {
    const int32_t error = ONE_Q2_29 - litesight_multiply_high(half, estimate);
    estimate += saturate((int64_t)litesight_multiply_high(estimate, error) * 4);
  }
  /* The estimate of 2 / (1 + x) in Q2.29 is that of 1 / (1 + x) in Q1.30. */
  return saturate((int64_t)estimate * 2);
}

void litesight_softmax_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_exponentials *softmax = (const litesight_exponentials *)layer->parameters;
  const uint32_t count = layer->output->channels;
  const int8_t *input = litesight_row(layer->input, arena, step);
  int8_t *output = litesight_row(layer->output, arena, step);
  int32_t largest = INT8_MIN;
  for (uint32_t i = 0; i < count; ++i) {
    largest = input[i] > largest ? input[i] : largest;
  }
  uint32_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const int32_t distance = largest - input[i];
    if (distance < softmax->terms) {
      sum += (uint32_t)litesight_divide_by_power_of_two(softmax->exponentials[distance], 31 - SUM_FRACTION_BITS);
    }
  }
  /* sum = (1 + x) * 2^(12 - zeros), which is 2^19 at least: the largest term is 1. */
  const uint32_t zeros = leading_zeros(sum);
  const int32_t scale = reciprocal_of_one_plus((int32_t)((sum << zeros) - 0x80000000u));
  const int32_t shift = 31 - SUM_FRACTION_BITS - (int32_t)zeros + 31 - 8;
  for (uint32_t i = 0; i < count; ++i) {
    const int32_t distance = largest - input[i];
    int32_t share = 0;
    /* From 2048 equal classes on, a share is less than can be told. */
    if (distance < softmax->terms && shift <= LARGEST_SHIFT) {
      share = litesight_divide_by_power_of_two(litesight_multiply_high(scale, softmax->exponentials[distance]), shift);
    }
    output[i] = litesight_clamp(share + INT8_MIN, INT8_MIN, INT8_MAX);
  }
}
