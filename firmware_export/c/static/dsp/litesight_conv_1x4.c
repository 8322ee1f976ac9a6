/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_conv_windows.h"

/* Maps that become one pixel wide. */
void litesight_conv_1x4_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  int8_t *row = litesight_row(layer->output, arena, step);
  const litesight_windows windows = litesight_windows_of(layer, arena, step, 0);
  litesight_gather_window(&windows, litesight_window_x(&windows, 0));
  litesight_dot dot = litesight_dot_of(layer, windows.values, windows.padded, 1);
  litesight_dot_at(&dot, layer, row, 0);
  litesight_dot_1x4(&dot);
  litesight_clamp_conv_row(layer, row);
}
