/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_pointwise_row.h"

#include "litesight_clamp_row.h"

void litesight_pointwise_row(const litesight_layer *layer, int8_t *arena, uint32_t step, uint32_t pixels,
                             litesight_panel_fill fill, litesight_dot_loop loop) {
  const uint32_t channels = layer->input->channels;
  const uint32_t values = (channels + 7u) & ~7u;
  const uint32_t width = layer->output->width;
  const int8_t *input = litesight_row(layer->input, arena, step);
  int8_t *row = litesight_row(layer->output, arena, step);
  uint32_t *panel = (uint32_t *)(void *)(arena + layer->scratch);
  litesight_dot dot = litesight_dot_of(layer, panel, values, pixels);
  for (uint32_t x = 0; x < width; x += pixels) {
    const uint32_t first = x + pixels <= width ? x : width - pixels;
    fill(panel, input + first * channels, channels, values);
    litesight_dot_at(&dot, layer, row, first);
    loop(&dot);
  }
  litesight_clamp_conv_row(layer, row);
}
