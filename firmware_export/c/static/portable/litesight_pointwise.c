/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with a window of one pixel. The row of the output needs nothing but the same row of the input. */
#include "litesight_conv_pixels.h"
#include "litesight_layer.h"

void litesight_pointwise_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const uint32_t depth = layer->input->channels;
  const uint32_t width = layer->output->width;
  const uint32_t next_pixel = litesight_pixel_distance(layer->output);
  const int8_t *input = litesight_row(layer->input, arena, step);
  int8_t *output = litesight_row(layer->output, arena, step);
  uint32_t x = 0;
  for (; x + 1u < width; x += 2u) {
    const int8_t *pixel = input + x * depth;
    litesight_conv_two_pixels(layer, depth, pixel, pixel + depth, output + x * next_pixel);
  }
  if (x < width) {
    litesight_conv_one_pixel(layer, depth, input + x * depth, output + x * next_pixel);
  }
}
