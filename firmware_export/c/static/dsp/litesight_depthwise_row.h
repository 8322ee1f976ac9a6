/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LITESIGHT_DEPTHWISE_ROW_H
#define LITESIGHT_DEPTHWISE_ROW_H

#include "litesight_depthwise.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*litesight_depthwise_loop)(const litesight_depthwise *row);

/* The words of the channels, in front of the weights. */
static inline const uint32_t *litesight_depthwise_channels(const litesight_conv *conv) {
  return (const uint32_t *)(const void *)conv->weights + 2;
}

/* What is added to both halves of a pair of inputs. */
static inline int32_t litesight_depthwise_zero(const litesight_feature *input) {
  return (int32_t)((uint16_t)-input->zero_point * 0x10001u);
}

/*
 * A row of the output. Where the input is not planar, four channels at a time are rearranged, which needs the window's
 * rows of four channels as scratch memory.
 *
 * `ends` is for loops that take wide rows in blocks of six pixels: how many of the blocks are not middle ones. The last
 * block may overlap the one before.
 */
void litesight_depthwise_row(const litesight_layer *layer, int8_t *arena, uint32_t step, uint32_t ends,
                             litesight_depthwise_loop loop);

#ifdef __cplusplus
}
#endif

#endif
