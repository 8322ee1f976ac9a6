/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the depthwise kernels have in common: windows of 3x3 or 5x5.
 *
 * Their weights begin with two words per channel: (the *next* channel's bias << 8) + e, and the multiplier; in front of
 * them two words for the first channel's bias << 8. Behind them follow the weights, channel by channel, 9 or 25 bytes
 * each. The bias is the one of the file: inputs are taken relative to their zero point, so that what lies outside of
 * the map does not count and need not be computed.
 *
 * Requantisation is that of litesight_dot.h: e = s + 6 for 3x3, whose weights are taken times 256, and s - 1 for 5x5.
 */
#ifndef LITESIGHT_DEPTHWISE_H
#define LITESIGHT_DEPTHWISE_H

#include <stddef.h>
#include <stdint.h>

#include "litesight_layer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LITESIGHT_DEPTHWISE_MAX_ROWS 5

/* A row of the output for some channels; the loops in assembly language know the order of what is in here. */
typedef struct litesight_depthwise {
  const uint32_t *channels; /* the first one's two words */
  int32_t zero_terms;       /* 2 * output zero point + 1 */
  int8_t *output;
  uint32_t pixel_stride; /* bytes between the outputs of two pixels */
  const uint32_t *channels_end;
  int32_t next_channel; /* from the last block of a channel to the first of the next, in bytes of the output */
  uint32_t middle;      /* blocks between the first and the last of the row */
  uint32_t middle_left;
  uint32_t back;        /* by how many inputs the last block overlaps the one before, */
  uint32_t back_output; /* and by how many bytes of the output */
  /* Rows under the window; the last ones, from rows_outside on, are those that are inside the map. */
  const int8_t *rows[LITESIGHT_DEPTHWISE_MAX_ROWS];
  uint32_t rows_outside;
  int32_t zero;          /* -(input zero point), twice */
  const int8_t *weights; /* of the first channel and the last row inside */
} litesight_depthwise;

#ifdef __cplusplus
}
#endif

#endif
