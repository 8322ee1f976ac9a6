/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_pointwise_row.h"

static void fill(uint32_t *panel, const int8_t *input, uint32_t distance, uint32_t values) {
  litesight_fill_panel(panel, input, distance, values, 3);
}

void litesight_pointwise_3x2_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_pointwise_row(layer, arena, step, 3, fill, litesight_dot_3x2);
}
