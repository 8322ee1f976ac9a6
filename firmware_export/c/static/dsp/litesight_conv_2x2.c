/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_conv_windows.h"

void litesight_conv_2x2_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_conv_windows(layer, arena, step, 2, litesight_dot_2x2);
}
