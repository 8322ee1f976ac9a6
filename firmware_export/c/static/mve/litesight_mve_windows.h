/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution with a window of 3x3 or 5x5, from columns: the values of a column under the window lie
 * together, so that a window is one run of bytes and moves by a column's size. Columns outside the map are there too.
 */
#ifndef LITESIGHT_MVE_WINDOWS_H
#define LITESIGHT_MVE_WINDOWS_H

#include <stddef.h>

#include "litesight_mve_dots.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Known to the compiler. */
typedef struct litesight_mve_window {
  int32_t size;   /* 3 or 5 */
  int32_t column; /* bytes: 4, of which the last is of no importance, or 5 */
  int32_t stride; /* 1 or 2 */
  bool is_rectified;
} litesight_mve_window;

/* A few channels whose columns are ready. Offsets are those that assembly relies on. */
typedef struct litesight_mve_group {
  const int8_t *columns; /* 0: of the first channel, from the left */
  uint32_t eights;       /* 4: outputs of a row */
  uint32_t last;         /* 8: outputs that are left */
  uint32_t count;        /* 12: of channels */
  int32_t next_columns;  /* 16: from behind the last output's to the next channel's */
  uint32_t predicate;    /* 20: of the outputs that are left, or of all where there are at most eight */
  int8_t *output;        /* 24 */
  int32_t zero_point;    /* 28: of the output */
  const int8_t *stream;  /* 32 */
  uint32_t eight_pixels; /* 36: distance of outputs */
  uint16_t offsets[8];   /* 40: of eight outputs */
} litesight_mve_group;

_Static_assert(offsetof(litesight_mve_group, offsets) == 40, "the assembly knows the offsets");

LITESIGHT_INLINE litesight_mve_eight litesight_mve_window_eight(const int8_t **columns,
                                                                litesight_mve_long_weights weights, int8x16_t second,
                                                                litesight_mve_window window) {
  if (window.size == 5) {
    return litesight_eight_long_single(columns, window.stride * 5, weights);
  }
  return window.stride == 1 ? litesight_eight_double(columns, 8, weights.head, second)
                            : litesight_eight_single(columns, 8, weights.head);
}

LITESIGHT_INLINE int32x4_t litesight_mve_window_four(const int8_t **columns, litesight_mve_long_weights weights,
                                                     int8x16_t second, litesight_mve_window window) {
  if (window.size == 5) {
    return litesight_four_long_single(columns, window.stride * 5, weights);
  }
  return window.stride == 1 ? litesight_four_double(columns, 8, weights.head, second)
                            : litesight_four_single(columns, 8, weights.head);
}

/* Zeroes in the lanes that are not of a window: 3x3, the same a column later, the tail of 5x5. */
LITESIGHT_INLINE int8x16_t litesight_mve_lanes(mve_pred16_t lanes) {
  return vpselq_s8(vdupq_n_s8(-1), vdupq_n_s8(0), lanes);
}

typedef struct litesight_mve_masks {
  int8x16_t first;
  int8x16_t second;
} litesight_mve_masks;

LITESIGHT_INLINE litesight_mve_masks litesight_mve_window_masks(litesight_mve_window window) {
  litesight_mve_masks masks = {vuninitializedq_s8(), vuninitializedq_s8()};
  masks.first = litesight_mve_lanes(window.size == 5 ? 0x01ff : 0x0fff);
  if (window.size == 3 && window.stride == 1) {
    masks.second = litesight_mve_lanes(0xfff0);
  }
  return masks;
}

/* What the stream has of a channel: its scale and its weights, column by column, a zero after every column of three. */
typedef struct litesight_mve_taps {
  litesight_mve_scale scale;
  litesight_mve_long_weights weights;
  int8x16_t second;
} litesight_mve_taps;

LITESIGHT_INLINE litesight_mve_taps litesight_mve_window_taps(const int8_t **stream, litesight_mve_masks masks,
                                                              litesight_mve_window window) {
  litesight_mve_taps taps;
  taps.scale = litesight_mve_streamed(*stream);
  taps.weights.head = vldrbq_s8(*stream + 8);
  if (window.size == 5) {
    taps.weights.tail = vandq_s8(vldrbq_s8(*stream + 24), masks.first);
    *stream += 33;
  } else {
    taps.weights.head = vandq_s8(taps.weights.head, masks.first);
    if (window.stride == 1) {
      taps.second = vandq_s8(vldrbq_s8(*stream + 4), masks.second);
    }
    *stream += 20;
  }
  return taps;
}

/* The predicate must be in its register already, which the compiler would load again for every store. */
LITESIGHT_INLINE void litesight_mve_store_eight(int8_t *target, uint16x8_t scatter, int16x8_t outputs) {
  __asm__ volatile("vpst\n\tvstrbt.16 %q0, [%1, %q2]" ::"w"(outputs), "r"(target), "w"(scatter) : "memory");
}

LITESIGHT_INLINE void litesight_mve_store_four(int8_t *target, uint32x4_t scatter, int32x4_t outputs) {
  __asm__ volatile("vpst\n\tvstrbt.32 %q0, [%1, %q2]" ::"w"(outputs), "r"(target), "w"(scatter) : "memory");
}

LITESIGHT_INLINE void litesight_mve_set_predicate(mve_pred16_t lanes) { __asm__ volatile("vmsr p0, %0" ::"r"(lanes)); }

/* Rows of at most four outputs. */
LITESIGHT_INLINE void litesight_mve_window_run_four(const litesight_mve_group *group, litesight_mve_window window) {
  const uint32x4_t scatter = vldrhq_u32(group->offsets);
  const litesight_mve_masks masks = litesight_mve_window_masks(window);
  const int32_t zero_point = group->zero_point;
  const int8_t *stream = group->stream;
  const int8_t *columns = group->columns;
  const int32_t next = group->next_columns;
  int8_t *output = group->output;
  litesight_mve_set_predicate((mve_pred16_t)group->predicate);
  for (uint32_t n = group->count; n > 0; --n) {
    const litesight_mve_taps taps = litesight_mve_window_taps(&stream, masks, window);
    const int32x4_t sums = litesight_mve_window_four(&columns, taps.weights, taps.second, window);
    litesight_mve_store_four(output, scatter,
                             litesight_mve_four_outputs(sums, taps.scale, zero_point, window.is_rectified));
    columns += next;
    output += 1;
  }
}

/* Rows of five to eight outputs. */
LITESIGHT_INLINE void litesight_mve_window_run_eight(const litesight_mve_group *group, litesight_mve_window window) {
  const uint16x8_t scatter = vldrhq_u16(group->offsets);
  const litesight_mve_masks masks = litesight_mve_window_masks(window);
  const int32_t zero_point = group->zero_point;
  const int8_t *stream = group->stream;
  const int8_t *columns = group->columns;
  const int32_t next = group->next_columns;
  int8_t *output = group->output;
  litesight_mve_set_predicate((mve_pred16_t)group->predicate);
  for (uint32_t n = group->count; n > 0; --n) {
    const litesight_mve_taps taps = litesight_mve_window_taps(&stream, masks, window);
    const litesight_mve_eight sums = litesight_mve_window_eight(&columns, taps.weights, taps.second, window);
    litesight_mve_store_eight(output, scatter,
                              litesight_mve_outputs(sums.even, sums.odd, taps.scale, zero_point, window.is_rectified));
    columns += next;
    output += 1;
  }
}

/* One window's kernels by the length of the output's rows. */
typedef void (*litesight_mve_group_kernel)(const litesight_mve_group *group);

typedef struct litesight_mve_group_kernels {
  litesight_mve_group_kernel four;
  litesight_mve_group_kernel eight;
  litesight_mve_group_kernel wide;
} litesight_mve_group_kernels;

LITESIGHT_INLINE litesight_mve_group_kernel litesight_mve_kernel_for(litesight_mve_group_kernels kernels,
                                                                     uint32_t width) {
  return width <= 4u ? kernels.four : width <= 8u ? kernels.eight : kernels.wide;
}

/*
 * Columns of channels are made ready together as far as they fit in so many bytes, which is known to the exporter; one
 * channel may need more.
 */
#define LITESIGHT_MVE_COLUMNS_BYTES 768u

LITESIGHT_INLINE void litesight_mve_fill(int8_t *target, int32_t value, uint32_t bytes) {
  const int8x16_t values = vdupq_n_s8((int8_t)value);
  for (uint32_t vectors = (bytes + 15u) >> 4; vectors > 0; --vectors) {
    vstrbq_s8(target, values);
    target += 16;
  }
}

LITESIGHT_INLINE litesight_mve_group litesight_mve_first_group(const litesight_layer *layer, int8_t *arena,
                                                               uint32_t step, const int8_t *columns, uint32_t area,
                                                               litesight_mve_window window) {
  const litesight_feature *output = layer->output;
  const uint32_t width = output->width;
  const uint32_t last = width & 7u;
  /* Of a rest at most four outputs are computed, or eight. */
  const uint32_t computed = width - last + (last > 4u ? 8u : last > 0u ? 4u : 0u);
  litesight_mve_group group = {
      .columns = columns,
      .eights = width >> 3,
      .last = last,
      .next_columns = (int32_t)area - (int32_t)computed * window.stride * window.column,
      .predicate = width > 8u   ? vctp16q(last)
                   : width > 4u ? vctp16q(width)
                                : vctp32q(width),
      .output = litesight_row(output, arena, step),
      .zero_point = output->zero_point,
      .stream = ((const litesight_conv *)layer->parameters)->weights,
      .eight_pixels = 8u * output->channels,
  };
  vst1q_u16(group.offsets, vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)output->channels));
  return group;
}

LITESIGHT_INLINE void litesight_mve_next_group(litesight_mve_group *group, litesight_mve_window window) {
  group->stream += group->count * (8u + (window.size == 5 ? 25u : 12u));
  group->output += group->count;
}

#ifdef __cplusplus
}
#endif

#endif
