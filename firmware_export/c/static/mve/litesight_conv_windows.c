/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution with any window: the window's values of a few pixels are copied to the scratch memory, the input's zero
 * point in place of what lies outside the map. From there on it is a pointwise convolution.
 */
#include "litesight_mve_copy.h"
#include "litesight_mve_wide.h"

/* Of the windows in the scratch memory; known to the exporter. */
#define MOST_PIXELS 12
#define MOST_BYTES 768

/* A fully connected layer's window is the whole map, which lies in the arena as it is needed. */
static bool is_whole_map(const litesight_layer *layer) {
  const litesight_window *window = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *input = layer->input;
  return window->kernel_height == input->height && window->kernel_width == input->width && window->pad_top == 0 &&
         window->pad_left == 0 && window->dilation_y == 1 && window->dilation_x == 1 && layer->output->height == 1 &&
         layer->output->width == 1;
}

void litesight_conv_windows_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_window *window = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *output = layer->output;
  const int32_t row_bytes = window->kernel_width * layer->input->channels;
  const int32_t depth = window->kernel_height * row_bytes;
  const uint32_t pixel_distance = output->is_planar ? 1u : output->channels;
  int8_t *row = litesight_row(output, arena, step);
  litesight_mve_pixels pixels = {.depth = depth < 16 ? 16u : (uint32_t)depth, .width = 1, .output = row};
  if (is_whole_map(layer)) {
    pixels.input = litesight_row(layer->input, arena, 0);
    pixels.pitch = pixels.depth;
    litesight_mve_wide_run(layer, pixels);
  } else {
    int8_t *windows = arena + layer->scratch;
    /* Rows of windows are written 16 bytes at a time, from the first on, and must not reach into the next window. */
    const int32_t pitch = row_bytes < 16 ? depth - row_bytes + 16 : depth;
    const int32_t tiles = MOST_BYTES / 3 / pitch;
    const int32_t block = tiles < 1 ? 3 : 3 * tiles < MOST_PIXELS ? 3 * tiles : MOST_PIXELS;
    pixels.input = windows;
    pixels.pitch = (uint32_t)pitch;
    for (int32_t x = 0; x < output->width; x += block) {
      const int32_t count = output->width - x < block ? output->width - x : block;
      litesight_mve_copy_windows(layer, arena, step, x, count, windows, pitch);
      pixels.width = (uint32_t)count;
      pixels.output = row + (uint32_t)x * pixel_distance;
      litesight_mve_wide_run(layer, pixels);
    }
  }
  litesight_mve_clamp_conv(layer, row);
}
