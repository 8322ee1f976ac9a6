/* SPDX-License-Identifier: Apache-2.0 */
/* Which taps of a window lie inside the map, in one direction. */
#ifndef LITESIGHT_TAPS_H
#define LITESIGHT_TAPS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Taps first <= i < end are inside; where none is, first == end. */
typedef struct litesight_taps {
  int32_t first;
  int32_t end;
} litesight_taps;

/* `start` is where tap 0 lies, `size` the map's height or width. Loops, because a Cortex-M0+ cannot divide. */
static inline litesight_taps litesight_taps_inside(int32_t start, int32_t dilation, int32_t taps, int32_t size) {
  litesight_taps inside = {0, taps};
  while (inside.first < taps && start + inside.first * dilation < 0) {
    ++inside.first;
  }
  while (inside.end > inside.first && start + (inside.end - 1) * dilation >= size) {
    --inside.end;
  }
  return inside;
}

#ifdef __cplusplus
}
#endif

#endif
