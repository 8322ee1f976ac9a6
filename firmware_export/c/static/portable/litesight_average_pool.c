/* SPDX-License-Identifier: Apache-2.0 */
/* Average of every channel over the part of the window that lies inside the map. */
#include <string.h>

#include "litesight_layer.h"
#include "litesight_requantize.h"
#include "litesight_taps.h"

/* Rounded, ties away from zero. */
static int32_t rounded_quotient(int32_t sum, int32_t count) {
  return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

void litesight_average_pool_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_pool *pool = (const litesight_pool *)layer->parameters;
  const litesight_window *window = &pool->window;
  const litesight_feature *input = layer->input;
  const uint32_t channels = input->channels;
  const int32_t top = (int32_t)(step * window->stride_y) - window->pad_top;
  const litesight_taps rows =
      litesight_taps_inside(top, window->dilation_y, window->kernel_height, (int32_t)input->height);
  int32_t *sums = (int32_t *)(void *)(arena + layer->scratch);
  int8_t *output = litesight_row(layer->output, arena, step);
  for (uint32_t x = 0; x < layer->output->width; ++x) {
    const int32_t left = (int32_t)(x * window->stride_x) - window->pad_left;
    const litesight_taps columns =
        litesight_taps_inside(left, window->dilation_x, window->kernel_width, (int32_t)input->width);
    const int32_t count = (rows.end - rows.first) * (columns.end - columns.first);
    memset(sums, 0, channels * sizeof *sums);
    for (int32_t i = rows.first; i < rows.end; ++i) {
      const int8_t *row = litesight_row(input, arena, (uint32_t)(top + i * window->dilation_y));
      for (int32_t j = columns.first; j < columns.end; ++j) {
        const int8_t *pixel = row + (uint32_t)(left + j * window->dilation_x) * channels;
        for (uint32_t c = 0; c < channels; ++c) {
          sums[c] += pixel[c];
        }
      }
    }
    for (uint32_t c = 0; c < channels; ++c) {
      output[c] = litesight_clamp(rounded_quotient(sums[c], count), pool->minimum, pool->maximum);
    }
    output += channels;
  }
}
