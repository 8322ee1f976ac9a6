/* SPDX-License-Identifier: Apache-2.0 */
/* Largest value of every channel in the window; what lies outside the map does not count. */
#include <string.h>

#include "litesight_layer.h"
#include "litesight_requantize.h"
#include "litesight_taps.h"

void litesight_max_pool_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_pool *pool = (const litesight_pool *)layer->parameters;
  const litesight_window *window = &pool->window;
  const litesight_feature *input = layer->input;
  const uint32_t channels = input->channels;
  const int32_t top = (int32_t)(step * window->stride_y) - window->pad_top;
  const litesight_taps rows =
      litesight_taps_inside(top, window->dilation_y, window->kernel_height, (int32_t)input->height);
  int8_t *output = litesight_row(layer->output, arena, step);
  for (uint32_t x = 0; x < layer->output->width; ++x) {
    const int32_t left = (int32_t)(x * window->stride_x) - window->pad_left;
    const litesight_taps columns =
        litesight_taps_inside(left, window->dilation_x, window->kernel_width, (int32_t)input->width);
    memset(output, INT8_MIN, channels);
    for (int32_t i = rows.first; i < rows.end; ++i) {
      const int8_t *row = litesight_row(input, arena, (uint32_t)(top + i * window->dilation_y));
      for (int32_t j = columns.first; j < columns.end; ++j) {
        const int8_t *pixel = row + (uint32_t)(left + j * window->dilation_x) * channels;
        for (uint32_t c = 0; c < channels; ++c) {
          output[c] = pixel[c] > output[c] ? pixel[c] : output[c];
        }
      }
    }
    for (uint32_t c = 0; c < channels; ++c) {
      output[c] = litesight_clamp(output[c], pool->minimum, pool->maximum);
    }
    output += channels;
  }
}
