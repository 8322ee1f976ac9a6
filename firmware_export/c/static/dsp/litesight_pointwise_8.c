/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointwise from 8 channels at most to a planar row: expansions at high resolution, where requantisation costs as much
 * as the products.
 */
#include "litesight_clamp_row.h"
#include "litesight_dot_layer.h"
#include "litesight_panel.h"

#define MAX_PIXELS 24u /* at a time, for the sake of memory */
#define WORDS_OF_PIXEL 4u

static void fill(uint32_t *panel, const int8_t *input, uint32_t channels, uint32_t pixels) {
  const uint32_t mask = litesight_panel_mask();
  const uint32_t *end = panel + WORDS_OF_PIXEL * pixels;
  for (; panel != end; panel += WORDS_OF_PIXEL) {
    const uint32_t low = litesight_load4(input);
    const uint32_t high = litesight_load4(input + 4);
    panel[0] = litesight_even_values(low, mask);
    panel[1] = litesight_odd_values(low, mask);
    panel[2] = litesight_even_values(high, mask);
    panel[3] = litesight_odd_values(high, mask);
    input += channels;
  }
}

/* The width is a multiple of 4. */
void litesight_pointwise_8_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_feature *output = layer->output;
  const uint32_t channels = layer->input->channels;
  const uint32_t width = output->width;
  const int8_t *input = litesight_row(layer->input, arena, step);
  int8_t *row = litesight_row(output, arena, step);
  uint32_t *panel = (uint32_t *)(void *)(arena + layer->scratch);
  litesight_dot dot = litesight_dot_of(layer, panel, 8, 0);
  for (uint32_t x = 0; x < width; x += MAX_PIXELS) {
    const uint32_t left = width - x;
    const uint32_t pixels = left < MAX_PIXELS ? left : MAX_PIXELS;
    fill(panel, input + x * channels, channels, pixels);
    dot.output = row + x;
    dot.end = dot.output + output->channels * width;
    dot.panel_end = panel + WORDS_OF_PIXEL * pixels;
    dot.channel_stride = width - pixels;
    litesight_dot_8(&dot);
  }
  litesight_clamp_conv_row(layer, row);
}
