/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns for depthwise windows of 3x3 by stores that interleave four vectors, the last of which is of no importance:
 * for wide rows, of planar maps and of those with at most 17 channels.
 */
#ifndef LITESIGHT_MVE_INTERLEAVE_H
#define LITESIGHT_MVE_INTERLEAVE_H

#include <stddef.h>

#include "litesight_mve_windows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the assembly below is given. */
typedef struct litesight_mve_three_rows {
  uint32_t vector_bytes; /* 0: of 16 pixels of an interleaved map */
  const int8_t *row[3];  /* 4 */
  int32_t next_row[3];   /* 16: from the end of the last vector to the next channel */
  int8_t *target;        /* 28: of pixel 0 of the first channel */
  int32_t next_target;   /* 32: from behind the last vector to the next channel */
  int32_t outside;       /* 36: zero point, four times */
  int32_t right;         /* 40: from behind the last vector to the column to the right of the map */
  uint32_t vectors;      /* 44: of 16 pixels, but for the last */
  uint32_t channels;     /* 48 */
  uint32_t predicate;    /* 52: pixels of the last vector */
  uint8_t pixels[16];    /* 56: offsets of pixels of an interleaved map */
} litesight_mve_three_rows;

_Static_assert(offsetof(litesight_mve_three_rows, pixels) == 56, "the assembly knows the offsets");

#define LITESIGHT_INTERLEAVE_PLANAR \
  "vldrb.8 q0, [r1], #16\n\t"       \
  "vldrb.8 q1, [r2], #16\n\t"       \
  "vldrb.8 q2, [r3], #16\n\t"
#define LITESIGHT_INTERLEAVE_PIXELS \
  "vldrb.u8 q0, [r1, q3]\n\t"       \
  "vldrb.u8 q1, [r2, q3]\n\t"       \
  "vldrb.u8 q2, [r3, q3]\n\t" LITESIGHT_INTERLEAVE_NEXT
#define LITESIGHT_INTERLEAVE_NEXT \
  "add r1, r1, r0\n\t"            \
  "add r2, r2, r0\n\t"            \
  "add r3, r3, r0\n\t"
/* What lies beyond the last pixel may lie beyond the memory. */
#define LITESIGHT_INTERLEAVE_LAST_PIXELS \
  "vpsttt\n\t"                           \
  "vldrbt.u8 q0, [r1, q3]\n\t"           \
  "vldrbt.u8 q1, [r2, q3]\n\t"           \
  "vldrbt.u8 q2, [r3, q3]\n\t" LITESIGHT_INTERLEAVE_NEXT
/* What goes to the fourth place of a column is of no importance. */
#define LITESIGHT_INTERLEAVE_STORE     \
  "vst40.8 {q0, q1, q2, q3}, [r7]\n\t" \
  "vst41.8 {q0, q1, q2, q3}, [r7]\n\t" \
  "vst42.8 {q0, q1, q2, q3}, [r7]\n\t" \
  "vst43.8 {q0, q1, q2, q3}, [r7]!\n\t"

#define LITESIGHT_INTERLEAVE_FUNCTION(name, load, load_last)                                   \
  LITESIGHT_ASSEMBLY static void name(const litesight_mve_three_rows *LITESIGHT_IN_R0(rows)) { \
    __asm__ volatile(                                                                          \
        "push {r4-r11, lr}\n\t"                                                                \
        "add r1, r0, #56\n\t"                                                                  \
        "ldr r2, [r0, #52]\n\t"                                                                \
        "vldrb.8 q3, [r1]\n\t"                                                                 \
        "vmsr p0, r2\n\t"                                                                      \
        "ldm r0, {r0-r12}\n"                                                                   \
        "1:\n\t"                                                                               \
        "wls lr, r11, 3f\n"                                                                    \
        "2:\n\t" load LITESIGHT_INTERLEAVE_STORE                                               \
        "le lr, 2b\n"                                                                          \
        "3:\n\t" load_last LITESIGHT_INTERLEAVE_STORE                                          \
        "str r9, [r7, r10]\n\t"                                                                \
        "add r1, r1, r4\n\t"                                                                   \
        "add r2, r2, r5\n\t"                                                                   \
        "add r3, r3, r6\n\t"                                                                   \
        "add r7, r7, r8\n\t"                                                                   \
        "subs r12, r12, #1\n\t"                                                                \
        "bne 1b\n\t"                                                                           \
        "pop {r4-r11, pc}\n" ::                                                                \
            : "memory");                                                                       \
  }

LITESIGHT_INTERLEAVE_FUNCTION(litesight_mve_interleave_planar, LITESIGHT_INTERLEAVE_PLANAR, LITESIGHT_INTERLEAVE_PLANAR)
LITESIGHT_INTERLEAVE_FUNCTION(litesight_mve_interleave_pixels, LITESIGHT_INTERLEAVE_PIXELS,
                              LITESIGHT_INTERLEAVE_LAST_PIXELS)

LITESIGHT_SHARED void litesight_mve_interleave_step(const litesight_layer *layer, int8_t *arena, uint32_t step,
                                                    litesight_mve_window window, bool is_planar,
                                                    litesight_mve_group_kernels kernels) {
  const litesight_window *moves = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *input = layer->input;
  const uint32_t width = input->width;
  const uint32_t vectors = (width + 15u) >> 4;
  const uint32_t channel_bytes = is_planar ? width : 1u;
  const uint32_t vector_bytes = is_planar ? 16u : 16u * input->channels;
  /* Rows outside the map are read from the scratch memory's beginning, where nothing is written. */
  const uint32_t outside_bytes = vectors * vector_bytes;
  const uint32_t area = (moves->pad_left + 16u * vectors + 1u) * 4u;
  const uint32_t per_group = LITESIGHT_MVE_COLUMNS_BYTES > area ? LITESIGHT_MVE_COLUMNS_BYTES / area : 1u;
  int8_t *outside = arena + layer->scratch;
  int8_t *columns = outside + outside_bytes;
  litesight_mve_fill(outside, input->zero_point, outside_bytes + per_group * area);

  const int32_t row_bytes = (int32_t)outside_bytes;
  litesight_mve_three_rows rows = {
      .vector_bytes = vector_bytes,
      .next_target = (int32_t)area - 64 * (int32_t)vectors,
      .outside = 0x01010101 * (int32_t)(uint8_t)input->zero_point,
      .right = 4 * (int32_t)width - 64 * (int32_t)vectors,
      .vectors = vectors - 1u,
      .predicate = vctp8q(width - 16u * (vectors - 1u)),
  };
  vstrbq_u8(rows.pixels, vmulq_n_u8(vidupq_n_u8(0, 1), (uint8_t)input->channels));
  uint32_t next[3];
  const int32_t top = (int32_t)(step * moves->stride_y) - moves->pad_top;
  for (int32_t i = 0; i < 3; ++i) {
    const bool is_inside = top + i >= 0 && top + i < input->height;
    rows.row[i] = is_inside ? litesight_row(input, arena, (uint32_t)(top + i)) : outside;
    next[i] = is_inside ? channel_bytes : 0;
    rows.next_row[i] = (int32_t)next[i] - row_bytes;
  }

  const litesight_mve_group_kernel kernel = litesight_mve_kernel_for(kernels, layer->output->width);
  litesight_mve_group group = litesight_mve_first_group(layer, arena, step, columns, area, window);
  for (uint32_t left = layer->output->channels; left > 0; left -= group.count) {
    group.count = left < per_group ? left : per_group;
    rows.channels = group.count;
    rows.target = columns + moves->pad_left * 4u;
    if (is_planar) {
      litesight_mve_interleave_planar(&rows);
    } else {
      litesight_mve_interleave_pixels(&rows);
    }
#pragma GCC unroll 3
    for (int32_t i = 0; i < 3; ++i) {
      rows.row[i] += group.count * next[i];
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
