/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_depthwise_assembly.h"
#include "litesight_depthwise_row.h"

void litesight_depthwise_5x5s2_3(const litesight_depthwise *row);

/* clang-format off: one instruction a line. */
/* Stride 2, three pixels. */
#define ROW(row, w0, w1) \
  "ldr r1, " row "\n"                 \
  LITESIGHT_WEIGHTS_5(w0, w1)         \
  "ldr r3, [r1], #3\n"                \
  "str r1, " row "\n"                 \
  LITESIGHT_PIXELS("r2", "r3", "r3")  \
  LITESIGHT_DUAL("r4", "r2", "r12")   \
  LITESIGHT_BT("r4", "r3", "r11")     \
  LITESIGHT_DUAL("r5", "r2", "r10")   \
  LITESIGHT_BB("r5", "r3", "r11")

LITESIGHT_DEPTHWISE_NARROW("litesight_depthwise_5x5s2_3", 5, 2, ROW);
/* clang-format on */

void litesight_depthwise_5x5s2_3_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_depthwise_row(layer, arena, step, 1, litesight_depthwise_5x5s2_3);
}
