/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution with any window. The window's values of two pixels are copied to the scratch memory, the input's zero
 * point in place of what lies outside the map, so that the sums run over contiguous memory.
 */
#include <string.h>

#include "litesight_conv_pixels.h"
#include "litesight_layer.h"
#include "litesight_taps.h"

static void fill(int8_t *target, const litesight_feature *feature, int32_t pixels) {
  memset(target, feature->zero_point, (uint32_t)pixels * feature->channels);
}

/* One row of the window; `left` is the column of its first tap. */
static void gather_row(const litesight_window *window, const litesight_feature *input, const int8_t *row, int32_t left,
                       int8_t *target) {
  const uint32_t depth = input->channels;
  const litesight_taps taps = litesight_taps_inside(left, window->dilation_x, window->kernel_width, input->width);
  fill(target, input, taps.first);
  int8_t *inside = target + (uint32_t)taps.first * depth;
  const uint32_t count = (uint32_t)(taps.end - taps.first);
  if (count != 0) {
    const int8_t *source = row + (uint32_t)(left + taps.first * window->dilation_x) * depth;
    if (window->dilation_x == 1) {
      memcpy(inside, source, count * depth);
    } else {
      for (uint32_t j = 0; j < count; ++j) {
        memcpy(inside + j * depth, source + j * window->dilation_x * depth, depth);
      }
    }
  }
  fill(inside + count * depth, input, window->kernel_width - taps.end);
}

static void gather(const litesight_layer *layer, int8_t *arena, uint32_t y, uint32_t x, int8_t *target) {
  const litesight_window *window = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *input = layer->input;
  const int32_t left = (int32_t)(x * window->stride_x) - window->pad_left;
  for (int32_t i = 0; i < window->kernel_height; ++i) {
    const int32_t row = (int32_t)(y * window->stride_y) - window->pad_top + i * window->dilation_y;
    if (row < 0 || row >= input->height) {
      fill(target, input, window->kernel_width);
    } else {
      gather_row(window, input, litesight_row(input, arena, (uint32_t)row), left, target);
    }
    target += (uint32_t)window->kernel_width * input->channels;
  }
}

/* A fully connected layer's window is the whole map, which lies in the arena as it is needed. */
static int is_whole_map(const litesight_layer *layer) {
  const litesight_window *window = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *input = layer->input;
  return window->kernel_height == input->height && window->kernel_width == input->width && window->pad_top == 0 &&
         window->pad_left == 0 && window->dilation_y == 1 && window->dilation_x == 1 && layer->output->height == 1 &&
         layer->output->width == 1;
}

void litesight_conv_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_window *window = &((const litesight_conv *)layer->parameters)->window;
  const uint32_t depth = (uint32_t)window->kernel_height * window->kernel_width * layer->input->channels;
  const uint32_t width = layer->output->width;
  const uint32_t next_pixel = litesight_pixel_distance(layer->output);
  int8_t *output = litesight_row(layer->output, arena, step);
  if (is_whole_map(layer)) {
    litesight_conv_one_pixel(layer, depth, litesight_row(layer->input, arena, 0), output);
    return;
  }
  int8_t *first = arena + layer->scratch;
  int8_t *second = first + depth;
  uint32_t x = 0;
  for (; x + 1u < width; x += 2u) {
    gather(layer, arena, step, x, first);
    gather(layer, arena, step, x + 1u, second);
    litesight_conv_two_pixels(layer, depth, first, second, output + x * next_pixel);
  }
  if (x < width) {
    gather(layer, arena, step, x, first);
    litesight_conv_one_pixel(layer, depth, first, output + x * next_pixel);
  }
}
