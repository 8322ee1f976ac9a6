/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with any window: the values under it are brought together, pixel by pixel. */
#ifndef LITESIGHT_CONV_WINDOWS_H
#define LITESIGHT_CONV_WINDOWS_H

#include <string.h>

#include "litesight_clamp_row.h"
#include "litesight_dot_layer.h"
#include "litesight_load.h"
#include "litesight_panel.h"

/* A row of the output. */
typedef struct litesight_windows {
  const litesight_feature *input;
  const litesight_window *window;
  int8_t *arena;
  int8_t *values;  /* of one window, and room for three more */
  uint32_t run;    /* bytes of a row of a window */
  uint32_t padded; /* values of a window, a multiple of 8 */
  int32_t top;     /* row of the input */
} litesight_windows;

/* The values of a window lie behind the panel. */
static inline litesight_windows litesight_windows_of(const litesight_layer *layer, int8_t *arena, uint32_t step,
                                                     uint32_t pixels) {
  litesight_windows windows;
  windows.input = layer->input;
  windows.window = &((const litesight_conv *)layer->parameters)->window;
  windows.arena = arena;
  windows.run = (uint32_t)windows.window->kernel_width * layer->input->channels;
  windows.padded = (windows.window->kernel_height * windows.run + 7u) & ~7u;
  windows.values = arena + layer->scratch + 2u * windows.padded * pixels;
  windows.top = (int32_t)(step * windows.window->stride_y) - windows.window->pad_top;
  return windows;
}

/* Where a window's leftmost taps are, for a pixel of the output. */
static inline int32_t litesight_window_x(const litesight_windows *windows, uint32_t pixel) {
  return (int32_t)(pixel * windows->window->stride_x) - windows->window->pad_left;
}

/* Whether each row of the window is one piece of memory. */
static inline int litesight_is_run(const litesight_windows *windows, int32_t x) {
  return windows->window->dilation_x == 1 && x >= 0 && x + windows->window->kernel_width <= windows->input->width;
}

/* May write up to three bytes more. */
static inline void litesight_copy_values(int8_t *to, const int8_t *from, uint32_t count) {
  for (uint32_t i = 0; i < count; i += 4u) {
    litesight_store4(to + i, litesight_load4(from + i));
  }
}

/* One row of the window: the taps inside the map, and the zero point for the others. */
static inline void litesight_gather_taps(const litesight_windows *windows, int8_t *to, const int8_t *input, int32_t x) {
  const uint32_t channels = windows->input->channels;
  for (uint32_t i = 0; i < windows->window->kernel_width; ++i) {
    if ((uint32_t)x < windows->input->width) {
      memcpy(to, input + (uint32_t)x * channels, channels);
    } else {
      memset(to, (uint8_t)windows->input->zero_point, channels);
    }
    to += channels;
    x += windows->window->dilation_x;
  }
}

/* All values of the window whose leftmost taps are at x. */
static inline void litesight_gather_window(const litesight_windows *windows, int32_t x) {
  const int is_run = litesight_is_run(windows, x);
  int8_t *to = windows->values;
  int32_t y = windows->top;
  for (uint32_t i = 0; i < windows->window->kernel_height; ++i) {
    if ((uint32_t)y >= windows->input->height) {
      memset(to, (uint8_t)windows->input->zero_point, windows->run);
    } else {
      const int8_t *input = litesight_row(windows->input, windows->arena, (uint32_t)y);
      if (is_run) {
        litesight_copy_values(to, input + (uint32_t)x * windows->input->channels, windows->run);
      } else {
        litesight_gather_taps(windows, to, input, x);
      }
    }
    to += windows->run;
    y += windows->window->dilation_y;
  }
}

/* The same, unpacked; where the rows consist of whole words inside the map, without the copy. */
static inline void litesight_unpack_window(const litesight_windows *windows, uint32_t *panel, int32_t x,
                                           uint32_t pixels) {
  const int32_t bottom = windows->top + (windows->window->kernel_height - 1) * windows->window->dilation_y;
  if (windows->run % 4u != 0u || windows->top < 0 || bottom >= windows->input->height ||
      !litesight_is_run(windows, x)) {
    litesight_gather_window(windows, x);
    litesight_fill_panel_pixel(panel, windows->values, windows->padded, pixels);
    return;
  }
  uint32_t y = (uint32_t)windows->top;
  for (uint32_t i = 0; i < windows->window->kernel_height; ++i) {
    const int8_t *row = litesight_row(windows->input, windows->arena, y);
    litesight_fill_panel_pixel(panel, row + (uint32_t)x * windows->input->channels, windows->run, pixels);
    panel += windows->run / 2u * pixels;
    y += windows->window->dilation_y;
  }
}

/* A row of the output, `pixels` at a time; `pixels` is a constant, and the row has so many at least. */
static inline void litesight_conv_windows(const litesight_layer *layer, int8_t *arena, uint32_t step, uint32_t pixels,
                                          void (*loop)(litesight_dot *)) {
  const uint32_t width = layer->output->width;
  uint32_t *panel = (uint32_t *)(void *)(arena + layer->scratch);
  int8_t *out = litesight_row(layer->output, arena, step);
  const litesight_windows windows = litesight_windows_of(layer, arena, step, pixels);
  litesight_dot dot = litesight_dot_of(layer, panel, windows.padded, pixels);
  for (uint32_t first = 0; first < width; first += pixels) {
    const uint32_t x = first + pixels <= width ? first : width - pixels;
    for (uint32_t p = 0; p < pixels; ++p) {
      litesight_unpack_window(&windows, panel + p, litesight_window_x(&windows, x + p), pixels);
    }
    litesight_dot_at(&dot, layer, out, x);
    loop(&dot);
  }
  litesight_clamp_conv_row(layer, out);
}

#endif
