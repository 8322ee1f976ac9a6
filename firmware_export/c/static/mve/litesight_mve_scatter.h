/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns for depthwise windows by scattering rows of a planar map: best for short rows, of which a vector holds
 * several channels, and where a column is no multiple of four bytes.
 */
#ifndef LITESIGHT_MVE_SCATTER_H
#define LITESIGHT_MVE_SCATTER_H

#include <stddef.h>

#include "litesight_mve_windows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the assembly below is given. */
typedef struct litesight_mve_sources {
  const int8_t *row[5]; /* 0: of the window, three or five */
  uint32_t vectors;     /* 20: of 16 pixels, per load */
  uint32_t loads;       /* 24 */
  int8_t *target;       /* 28: of pixel 0 of the first channel */
  int32_t next_row;     /* 32: to the next load's pixels, from the end of the last vector */
  int32_t next_target;  /* 36: to the next load's columns, likewise */
  int32_t outside;      /* 40: zero point, four times */
  int32_t right;        /* 44: from behind the last vector to the columns to the right of the map */
  uint8_t offsets[80];  /* 48: of pixels, by row */
} litesight_mve_sources;

_Static_assert(offsetof(litesight_mve_sources, offsets) == 48, "the assembly knows the offsets");

/* Three rows, and five. The loop is repeated for every vector; registers of the rows are r1 to r5, the target's is r8.
 */
#define LITESIGHT_SCATTER_ROWS_3 \
  "vldrb.8 q0, [r1], #16\n\t"    \
  "vstrb.8 q0, [r8, q1]\n\t"     \
  "vldrb.8 q7, [r2], #16\n\t"    \
  "vstrb.8 q7, [r8, q2]\n\t"     \
  "vldrb.8 q0, [r3], #16\n\t"    \
  "vstrb.8 q0, [r8, q3]\n\t"     \
  "add r8, r8, #64\n\t"
#define LITESIGHT_SCATTER_ROWS_5 \
  "vldrb.8 q0, [r1], #16\n\t"    \
  "vstrb.8 q0, [r8, q1]\n\t"     \
  "vldrb.8 q7, [r2], #16\n\t"    \
  "vstrb.8 q7, [r8, q2]\n\t"     \
  "vldrb.8 q0, [r3], #16\n\t"    \
  "vstrb.8 q0, [r8, q3]\n\t"     \
  "vldrb.8 q7, [r4], #16\n\t"    \
  "vstrb.8 q7, [r8, q4]\n\t"     \
  "vldrb.8 q0, [r5], #16\n\t"    \
  "vstrb.8 q0, [r8, q5]\n\t"     \
  "add r8, r8, #80\n\t"
#define LITESIGHT_SCATTER_NEXT_3 \
  "add r1, r1, r9\n\t"           \
  "add r2, r2, r9\n\t"           \
  "add r3, r3, r9\n\t"
#define LITESIGHT_SCATTER_NEXT_5 \
  LITESIGHT_SCATTER_NEXT_3       \
  "add r4, r4, r9\n\t"           \
  "add r5, r5, r9\n\t"
/* Where whole vectors were written the columns to the right of the map are made good. */
#define LITESIGHT_SCATTER_RIGHT \
  "add r11, r8, r12\n\t"        \
  "vstrb.8 q6, [r11]\n\t"

#define LITESIGHT_SCATTER_FUNCTION(name, rows, next, right)                                    \
  LITESIGHT_ASSEMBLY static void name(const litesight_mve_sources *LITESIGHT_IN_R0(sources)) { \
    __asm__ volatile(                                                                          \
        "push {r4-r11, lr}\n\t"                                                                \
        "vpush {d8-d15}\n\t"                                                                   \
        "ldm r0!, {r1-r12}\n\t"                                                                \
        "vldrb.8 q1, [r0], #16\n\t"                                                            \
        "vldrb.8 q2, [r0], #16\n\t"                                                            \
        "vldrb.8 q3, [r0], #16\n\t"                                                            \
        "vldrb.8 q4, [r0], #16\n\t"                                                            \
        "vldrb.8 q5, [r0], #16\n\t"                                                            \
        "vdup.32 q6, r11\n"                                                                    \
        "1:\n\t"                                                                               \
        "dls lr, r6\n"                                                                         \
        "2:\n\t" rows "le lr, 2b\n\t" right next                                               \
        "add r8, r8, r10\n\t"                                                                  \
        "subs r7, r7, #1\n\t"                                                                  \
        "bne 1b\n\t"                                                                           \
        "vpop {d8-d15}\n\t"                                                                    \
        "pop {r4-r11, pc}\n" ::                                                                \
            : "memory");                                                                       \
  }

LITESIGHT_SCATTER_FUNCTION(litesight_mve_scatter_3, LITESIGHT_SCATTER_ROWS_3, LITESIGHT_SCATTER_NEXT_3, "")
LITESIGHT_SCATTER_FUNCTION(litesight_mve_scatter_5, LITESIGHT_SCATTER_ROWS_5, LITESIGHT_SCATTER_NEXT_5, "")
LITESIGHT_SCATTER_FUNCTION(litesight_mve_scatter_wide_5, LITESIGHT_SCATTER_ROWS_5, LITESIGHT_SCATTER_NEXT_5,
                           LITESIGHT_SCATTER_RIGHT)

/* How the columns of a layer lie; known to the exporter. */
typedef struct litesight_mve_areas {
  uint32_t per_load;  /* channels that a vector of a row holds: more than one where rows are short */
  uint32_t area;      /* bytes of columns per channel */
  uint32_t per_group; /* channels */
} litesight_mve_areas;

LITESIGHT_INLINE litesight_mve_areas litesight_mve_scatter_areas(uint32_t width, uint32_t left,
                                                                 litesight_mve_window window) {
  litesight_mve_areas areas;
  areas.per_load = width > 8u ? 1u : width > 2u ? 16u / width : 7u;
  /* A spare column at the end, or room for whole vectors and for one written to the right of the map. */
  const uint32_t columns = width > 16u ? ((width + 15u) & ~15u) + 4u : width + (uint32_t)window.size / 2u + 1u;
  areas.area = (left + columns) * (uint32_t)window.column;
  const uint32_t load = areas.per_load * areas.area;
  areas.per_group = (LITESIGHT_MVE_COLUMNS_BYTES > load ? LITESIGHT_MVE_COLUMNS_BYTES / load : 1u) * areas.per_load;
  return areas;
}

/*
 * Where pixels of a vector go: to their columns, of several channels, the rest to the spare column. With `width` above
 * 16 there is no rest.
 */
LITESIGHT_INLINE uint8x16_t litesight_mve_pixel_offsets(uint32_t width, litesight_mve_areas areas,
                                                        litesight_mve_window window) {
  const uint32_t column = (uint32_t)window.column;
  uint8x16_t offsets = vmulq_n_u8(vidupq_n_u8(0, 1), (uint8_t)column);
  if (width <= 16u) {
    const uint32_t spare = (areas.per_load - 1u) * areas.area + (width + (uint32_t)window.size / 2u) * column;
    for (uint32_t i = 1; i < areas.per_load; ++i) {
      const mve_pred16_t later = (mve_pred16_t)(0xffffu << (i * width));
      offsets = vaddq_m_n_u8(offsets, offsets, (uint8_t)(areas.area - width * column), later);
    }
    offsets = vpselq_u8(offsets, vdupq_n_u8((uint8_t)spare), vctp8q(width * areas.per_load));
  }
  return offsets;
}

LITESIGHT_SHARED void litesight_mve_scatter_step(const litesight_layer *layer, int8_t *arena, uint32_t step,
                                                 litesight_mve_window window, litesight_mve_group_kernels kernels) {
  const litesight_window *moves = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *input = layer->input;
  const uint32_t width = input->width;
  const uint32_t column = (uint32_t)window.column;
  const litesight_mve_areas areas = litesight_mve_scatter_areas(width, moves->pad_left, window);
  int8_t *columns = arena + layer->scratch;
  litesight_mve_fill(columns, input->zero_point, areas.per_group * areas.area);

  const int32_t vectors = (int32_t)((width + 15u) >> 4);
  int8_t *first_target = columns + moves->pad_left * column;
  litesight_mve_sources sources = {
      .vectors = (uint32_t)vectors,
      .next_row = (int32_t)(areas.per_load * width) - 16 * vectors,
      .next_target = (int32_t)(areas.per_load * areas.area) - 16 * vectors * window.column,
      .outside = 0x01010101 * (int32_t)(uint8_t)input->zero_point,
      .right = ((int32_t)width - 16 * vectors) * window.column,
  };
  /* Rows outside the map repeat the nearest one: their own places stay as they have been filled. */
  const uint8x16_t offsets = litesight_mve_pixel_offsets(width, areas, window);
  const int32_t top = (int32_t)(step * moves->stride_y) - moves->pad_top;
  for (int32_t i = 0; i < window.size; ++i) {
    const int32_t y = top + i;
    const int32_t inside = y < 0 ? 0 : y >= input->height ? input->height - 1 : y;
    sources.row[i] = litesight_row(input, arena, (uint32_t)inside);
    vstrbq_u8(sources.offsets + 16 * i, vaddq_n_u8(offsets, (uint8_t)(inside - top)));
  }

  const litesight_mve_group_kernel kernel = litesight_mve_kernel_for(kernels, layer->output->width);
  litesight_mve_group group = litesight_mve_first_group(layer, arena, step, columns, areas.area, window);
  const uint32_t group_bytes = areas.per_group * width;
  for (uint32_t left = layer->output->channels; left > 0; left -= group.count) {
    group.count = left < areas.per_group ? left : areas.per_group;
    sources.loads = (group.count + areas.per_load - 1u) / areas.per_load;
    sources.target = first_target;
    if (window.size == 3) {
      litesight_mve_scatter_3(&sources);
    } else if (width > 16u) {
      litesight_mve_scatter_wide_5(&sources);
    } else {
      litesight_mve_scatter_5(&sources);
    }
#pragma GCC unroll 5
    for (int32_t i = 0; i < window.size; ++i) {
      sources.row[i] += group_bytes;
    }
    kernel(&group);
    litesight_mve_next_group(&group, window);
  }
  litesight_mve_clamp_conv(layer, litesight_row(layer->output, arena, step));
}

#ifdef __cplusplus
}
#endif

#endif
