/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the MVE (Helium) kernels share: from dot products to int8 outputs. A dot product ends in a core register; two
 * groups of four of them are gathered in vectors, requantised, and narrowed to eight outputs.
 */
#ifndef LITESIGHT_MVE_H
#define LITESIGHT_MVE_H

#include <arm_mve.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "litesight_layer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The kernels are written once for several cases that the compiler has to tell apart before their innermost loop. */
#define LITESIGHT_INLINE static inline __attribute__((always_inline))

/* What surrounds the innermost loops is better small than fast; a function that a file does not need is left out. */
#define LITESIGHT_SHARED static __attribute__((noinline, unused))

/* Functions that are assembly from push to pop, with their one argument. */
#define LITESIGHT_ASSEMBLY __attribute__((naked, noinline, unused))
#define LITESIGHT_IN_R0(argument) argument __attribute__((unused))

/* How accumulators of one channel become outputs. */
typedef struct litesight_mve_scale {
  int32_t bias;
  int32_t multiplier;
  int32_t left_shift; /* negative: to the right */
} litesight_mve_scale;

/*
 * From the stream of weights: a word with the bias above the negative shift, which is read as a byte, and the
 * multiplier. Words are not aligned.
 */
LITESIGHT_INLINE litesight_mve_scale litesight_mve_streamed(const int8_t *stream) {
  int32_t word;
  litesight_mve_scale scale;
  memcpy(&word, stream, sizeof word);
  memcpy(&scale.multiplier, stream + 4, sizeof scale.multiplier);
  scale.bias = word >> 8;
  scale.left_shift = word;
  return scale;
}

/* Lanes in this order need two instructions, where one by one they would need four. */
LITESIGHT_INLINE int32x4_t litesight_mve_gather(int32_t lane0, int32_t lane1, int32_t lane2, int32_t lane3) {
  int32x4_t lanes;
  __asm__("vmov %q0[2], %q0[0], %1, %2" : "=w"(lanes) : "r"(lane0), "r"(lane2));
  __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(lanes) : "r"(lane1), "r"(lane3));
  return lanes;
}

/*
 * TFLM divides by 2^shift with ties away from zero, VRSHL has them upwards: negative values need one less, unless the
 * shift is 0. Where the output's zero point is its minimum, negative values are clamped and upwards is as good.
 */
LITESIGHT_INLINE int32x4_t litesight_mve_rescale(int32x4_t values, int32_t multiplier, int32_t left_shift,
                                                 bool is_upwards) {
  int32x4_t scaled = vqrdmulhq_n_s32(values, multiplier);
  if (!is_upwards) {
    const uint32x4_t sign_shift = vdupq_n_u32(left_shift == 0 ? (uint32_t)-32 : (uint32_t)-31);
    const uint32x4_t is_negative = vshlq_u32(vreinterpretq_u32_s32(scaled), vreinterpretq_s32_u32(sign_shift));
    scaled = vsubq_s32(scaled, vreinterpretq_s32_u32(is_negative));
  }
  return vrshlq_n_s32(scaled, left_shift);
}

/* Eight outputs, each in the lower half of a 16-bit lane. */
LITESIGHT_INLINE int16x8_t litesight_mve_narrow(int32x4_t even, int32x4_t odd, int32_t zero_point) {
  int16x8_t halves;
  int16x8_t outputs;
  __asm__("vqmovnb.s32 %q0, %q1" : "=w"(halves) : "w"(even));
  halves = vqaddq_n_s16(vqmovntq_s32(halves, odd), (int16_t)zero_point);
  __asm__("vqmovnb.s16 %q0, %q1" : "=w"(outputs) : "w"(halves));
  return outputs;
}

LITESIGHT_INLINE int16x8_t litesight_mve_outputs(int32x4_t even, int32x4_t odd, litesight_mve_scale scale,
                                                 int32_t zero_point, bool is_rectified) {
  return litesight_mve_narrow(
      litesight_mve_rescale(vaddq_n_s32(even, scale.bias), scale.multiplier, scale.left_shift, is_rectified),
      litesight_mve_rescale(vaddq_n_s32(odd, scale.bias), scale.multiplier, scale.left_shift, is_rectified),
      zero_point);
}

/* Four outputs, each in the lowest byte of a 32-bit lane. */
LITESIGHT_INLINE int32x4_t litesight_mve_four_outputs(int32x4_t sums, litesight_mve_scale scale, int32_t zero_point,
                                                      bool is_rectified) {
  sums = litesight_mve_rescale(vaddq_n_s32(sums, scale.bias), scale.multiplier, scale.left_shift, is_rectified);
  int16x8_t halves;
  int32x4_t outputs;
  __asm__("vqmovnb.s32 %q0, %q1" : "=w"(halves) : "w"(sums));
  halves = vqaddq_n_s16(halves, (int16_t)zero_point);
  __asm__("vqmovnb.s16 %q0, %q1" : "=w"(outputs) : "w"(halves));
  return outputs;
}

/* Whether negative accumulators end at the output's minimum. */
LITESIGHT_INLINE bool litesight_mve_is_rectified(const litesight_layer *layer) {
  return ((const litesight_conv *)layer->parameters)->channels.minimum == layer->output->zero_point;
}

/* Narrowing saturates to int8; the few layers with a narrower range have their rows clamped afterwards. */
LITESIGHT_INLINE void litesight_mve_clamp(int8_t *row, uint32_t count, int8_t minimum, int8_t maximum) {
  if (minimum == INT8_MIN && maximum == INT8_MAX) {
    return;
  }
  for (int32_t left = (int32_t)count; left > 0; left -= 16) {
    const int8x16_t values = vmaxq_s8(vldrbq_s8(row), vdupq_n_s8(minimum));
    vstrbq_p_s8(row, vminq_s8(values, vdupq_n_s8(maximum)), vctp8q((uint32_t)left));
    row += 16;
  }
}

LITESIGHT_INLINE void litesight_mve_clamp_conv(const litesight_layer *layer, int8_t *row) {
  const litesight_channels *channels = &((const litesight_conv *)layer->parameters)->channels;
  litesight_mve_clamp(row, (uint32_t)layer->output->width * layer->output->channels, channels->minimum,
                      channels->maximum);
}

#ifdef __cplusplus
}
#endif

#endif
