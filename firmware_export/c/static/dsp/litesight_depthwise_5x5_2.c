/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_depthwise_assembly.h"
#include "litesight_depthwise_row.h"

void litesight_depthwise_5x5_2(const litesight_depthwise *row);

/* clang-format off: one instruction a line. */
/* Stride 1, two pixels. */
#define ROW(row, w0, w1) \
  "ldr r1, " row "\n"                 \
  LITESIGHT_WEIGHTS_5(w0, w1)         \
  "ldr r3, [r1], #2\n"                \
  "str r1, " row "\n"                 \
  LITESIGHT_PIXELS("r2", "r3", "r3")  \
  LITESIGHT_BB("r4", "r2", "r12")     \
  LITESIGHT_BT("r4", "r3", "r11")     \
  LITESIGHT_BB("r5", "r2", "r11")     \
  LITESIGHT_BB("r5", "r3", "r12")

LITESIGHT_DEPTHWISE_NARROW("litesight_depthwise_5x5_2", 5, 2, ROW);
/* clang-format on */

void litesight_depthwise_5x5_2_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_depthwise_row(layer, arena, step, 1, litesight_depthwise_5x5_2);
}
