/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies what the windows of neighbouring pixels cover, one window after the other, the input's zero point in place of
 * what lies outside the map.
 */
#ifndef LITESIGHT_MVE_COPY_H
#define LITESIGHT_MVE_COPY_H

#include <stddef.h>

#include "litesight_mve.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline void litesight_mve_copy_bytes(int8_t *target, const int8_t *source, int32_t count) {
  for (; count > 0; count -= 16) {
    const mve_pred16_t inside = vctp8q((uint32_t)count);
    vstrbq_p_s8(target, vldrbq_z_s8(source, inside), inside);
    source += 16;
    target += 16;
  }
}

static inline void litesight_mve_fill_bytes(int8_t *target, int32_t value, int32_t count) {
  for (; count > 0; count -= 16) {
    vstrbq_p_s8(target, vdupq_n_s8((int8_t)value), vctp8q((uint32_t)count));
    target += 16;
  }
}

/* One row of one window; `row` is NULL outside the map, `left` the window's first column. */
LITESIGHT_SHARED void litesight_mve_copy_row(const litesight_layer *layer, const int8_t *row, int32_t left,
                                             int8_t *target) {
  const litesight_window *window = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *input = layer->input;
  const int32_t depth = input->channels;
  const int32_t reach = (window->kernel_width - 1) * window->dilation_x;
  if (row == NULL) {
    litesight_mve_fill_bytes(target, input->zero_point, window->kernel_width * depth);
  } else if (window->dilation_x == 1 && left >= 0 && left + reach < input->width) {
    litesight_mve_copy_bytes(target, row + left * depth, window->kernel_width * depth);
  } else {
    for (int32_t j = 0; j < window->kernel_width; ++j) {
      const int32_t column = left + j * window->dilation_x;
      if (column < 0 || column >= input->width) {
        litesight_mve_fill_bytes(target + j * depth, input->zero_point, depth);
      } else {
        litesight_mve_copy_bytes(target + j * depth, row + column * depth, depth);
      }
    }
  }
}

/* One row of the windows of `count` pixels, all of it inside the map, at most 16 bytes, of which it writes all. */
static inline void litesight_mve_copy_short_rows(const int8_t *source, int32_t stride, int32_t count, int8_t *target,
                                                 int32_t pitch) {
  for (; count > 0; --count) {
    vstrbq_s8(target, vldrbq_s8(source));
    source += stride;
    target += pitch;
  }
}

/* `count` pixels from `x` on. */
LITESIGHT_SHARED void litesight_mve_copy_windows(const litesight_layer *layer, int8_t *arena, uint32_t step, int32_t x,
                                                 int32_t count, int8_t *target, int32_t pitch) {
  const litesight_window *window = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *input = layer->input;
  const int32_t depth = input->channels;
  const int32_t row_bytes = window->kernel_width * depth;
  const int32_t stride = window->stride_x;
  const int32_t first = x * stride - window->pad_left;
  const int32_t last = first + (count - 1) * stride;
  /* Pixels that are not at the edges. */
  const int32_t from = first >= 0 ? 0 : (stride - 1 - first) / stride;
  const int32_t over = last + window->kernel_width - input->width;
  const int32_t to = over <= 0 ? count : count - (over + stride - 1) / stride;
  const bool is_short = row_bytes <= 16 && window->dilation_x == 1;
  int32_t y = (int32_t)(step * window->stride_y) - window->pad_top;
  for (int32_t i = 0; i < window->kernel_height; ++i) {
    const int8_t *row = y < 0 || y >= input->height ? NULL : litesight_row(input, arena, (uint32_t)y);
    int32_t edge = count;
    int32_t after = count;
    if (is_short && row != NULL && from < to) {
      litesight_mve_copy_short_rows(row + (first + from * stride) * depth, stride * depth, to - from,
                                    target + from * pitch, pitch);
      edge = from;
      after = to;
    }
    for (int32_t j = 0; j < edge; ++j) {
      litesight_mve_copy_row(layer, row, first + j * stride, target + j * pitch);
    }
    for (int32_t j = after; j < count; ++j) {
      litesight_mve_copy_row(layer, row, first + j * stride, target + j * pitch);
    }
    target += row_bytes;
    y += window->dilation_y;
  }
}

#ifdef __cplusplus
}
#endif

#endif
