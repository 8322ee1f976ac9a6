/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dot products of a few pixels with the weights of all output channels, and what becomes of the sums: the inner loops
 * of every convolution but the depthwise ones. They are written in assembly language because all fourteen registers are
 * needed, which no compiler finds out.
 *
 * Pixels come as a *panel*: the K values of P pixels, K a multiple of 8, each value times 256 in 16 bits. For every
 * four values (k0, k1, k2, k3) there are P words (k0, k2), one per pixel, then P words (k1, k3). This is the order in
 * which SXTB16 unpacks four weights.
 *
 * Weights are one stream of words. The first holds the first output channel's bias << 8. Then comes for each channel:
 * its K weights, a word that is (the *next* channel's bias << 8) + e, and the channel's multiplier. Where two channels
 * are computed at a time, their weights alternate by fours, and both biases come first and both pairs of words at the
 * end.
 *
 * Factor 256 makes room for e in the bias and gives a faster requantisation. With s the shift to the right, 1 to 16, of
 * the channel, z the output's zero point and A = 256 * accumulator, the output of an accumulator that becomes
 * (v + half - (v < 0)) >> s, v = (accumulator * multiplier + 2^30) >> 31, half = 2^(s - 1), is
 *
 *   where outputs below z are clamped to z anyway (is_linear = 0, e = s + 6):
 *     (floor(A * multiplier / 2^32) + ((2 * z + 1) << (s + 6)) + 64) >> (s + 7)
 *     because nested floors are one floor, and the term (v < 0) matters for negative v only;
 *   else (is_linear = 1, e = s - 1): with a = A >> 7, twice the accumulator,
 *     (round(a * multiplier / 2^32) + ((2 * z + 1) << (s - 1)) - (a < 0)) >> s
 *     because v < 0 whenever a < 0, but for v = 0, where the difference does not reach the result.
 */
#ifndef LITESIGHT_DOT_H
#define LITESIGHT_DOT_H

#include <stddef.h>
#include <stdint.h>

#include "litesight_layer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct litesight_dot {
  uint32_t channel_stride; /* bytes between the outputs of two channels */
  int32_t zero_terms;      /* 2 * output zero point + 1 */
  int8_t *output;          /* where the loops start */
  uint32_t pixel_stride;   /* bytes between the outputs of two pixels */
  int8_t *end;             /* output + channels * channel_stride */
  const void *panel;
  uint32_t groups; /* K / 8 - 1 */
  uint32_t is_linear;
  const void *panel_end;
  const int8_t *weights;
} litesight_dot;

/* Six or four pixels; or three or two pixels and two channels; or one and four channels. They change dot->output. */
void litesight_dot_6x1(litesight_dot *dot);
void litesight_dot_4x1(litesight_dot *dot);
void litesight_dot_3x2(litesight_dot *dot);
void litesight_dot_2x2(litesight_dot *dot);
void litesight_dot_1x4(litesight_dot *dot);
void litesight_dot_8(litesight_dot *dot);

#ifdef __cplusplus
}
#endif

#endif
