/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution, in general. */
#include "litesight_mve_wide.h"

void litesight_pointwise_wide_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const uint32_t depth = layer->input->channels;
  int8_t *row = litesight_row(layer->output, arena, step);
  const litesight_mve_pixels pixels = {litesight_row(layer->input, arena, step), depth, depth < 16u ? 16u : depth,
                                       layer->output->width, row};
  litesight_mve_wide_run(layer, pixels);
  litesight_mve_clamp_conv(layer, row);
}
