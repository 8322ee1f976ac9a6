/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_clamp_row.h"
#include "litesight_dot_layer.h"

/*
 * One pixel to one pixel. The pixel may also be a whole map that lies in one piece, as the window of a fully connected
 * layer.
 */
void litesight_pointwise_1x4_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_window *window = &((const litesight_conv *)layer->parameters)->window;
  const uint32_t values = (uint32_t)window->kernel_height * window->kernel_width * layer->input->channels;
  int8_t *row = litesight_row(layer->output, arena, step);
  litesight_dot dot = litesight_dot_of(layer, litesight_row(layer->input, arena, step), (values + 7u) & ~7u, 1);
  litesight_dot_at(&dot, layer, row, 0);
  litesight_dot_1x4(&dot);
  litesight_clamp_conv_row(layer, row);
}
