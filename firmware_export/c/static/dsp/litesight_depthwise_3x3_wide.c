/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_depthwise_assembly.h"
#include "litesight_depthwise_row.h"

void litesight_depthwise_3x3_wide(const litesight_depthwise *row);

/* clang-format off: one instruction a line. */
/* Stride 1, seven pixels or more. The word of the first four pixels, then that of the next four. */
#define FIRST(row, w0, w1) \
  "ldr r1, " row "\n"                   \
  LITESIGHT_WEIGHTS_3(w0, w1)           \
  "ldr r3, [r1], #4\n"                  \
  "ldr r12, [r1], #1\n"                 \
  "str r1, " row "\n"                   \
  LITESIGHT_PIXELS("r2", "r3", "r3")    \
  LITESIGHT_BB("r4", "r2", "r11")       \
  LITESIGHT_BT("r4", "r3", "r10")       \
  LITESIGHT_DUAL("r5", "r2", "r10")     \
  LITESIGHT_BB("r5", "r3", "r11")       \
  LITESIGHT_DUAL("r6", "r3", "r10")     \
  LITESIGHT_TB("r6", "r2", "r11")       \
  LITESIGHT_TB("r7", "r2", "r10")       \
  LITESIGHT_TB("r7", "r3", "r11")       \
  LITESIGHT_TB("r8", "r3", "r10")       \
  LITESIGHT_PIXELS("r1", "r12", "r12")  \
  LITESIGHT_BT("r7", "r1", "r10")       \
  LITESIGHT_BB("r8", "r1", "r11")       \
  LITESIGHT_BT("r8", "r12", "r10")      \
  LITESIGHT_DUAL("r9", "r1", "r10")     \
  LITESIGHT_BB("r9", "r12", "r11")

#define MIDDLE(row, w0, w1) \
  "ldr r1, " row "\n"                   \
  LITESIGHT_WEIGHTS_3(w0, w1)           \
  "ldr r3, [r1], #4\n"                  \
  "ldr r12, [r1], #2\n"                 \
  "str r1, " row "\n"                   \
  LITESIGHT_PIXELS("r2", "r3", "r3")    \
  LITESIGHT_DUAL("r4", "r2", "r10")     \
  LITESIGHT_BB("r4", "r3", "r11")       \
  LITESIGHT_DUAL("r5", "r3", "r10")     \
  LITESIGHT_TB("r5", "r2", "r11")       \
  LITESIGHT_TB("r6", "r2", "r10")       \
  LITESIGHT_TB("r6", "r3", "r11")       \
  LITESIGHT_TB("r7", "r3", "r10")       \
  LITESIGHT_PIXELS("r1", "r12", "r12")  \
  LITESIGHT_BT("r6", "r1", "r10")       \
  LITESIGHT_BB("r7", "r1", "r11")       \
  LITESIGHT_BT("r7", "r12", "r10")      \
  LITESIGHT_DUAL("r8", "r1", "r10")     \
  LITESIGHT_BB("r8", "r12", "r11")      \
  LITESIGHT_DUAL("r9", "r12", "r10")    \
  LITESIGHT_TB("r9", "r1", "r11")

#define LAST(row, w0, w1) \
  "ldr r1, " row "\n"                   \
  LITESIGHT_WEIGHTS_3(w0, w1)           \
  "ldr r3, [r1], #4\n"                  \
  "ldr r12, [r1], #3\n"                 \
  "str r1, " row "\n"                   \
  LITESIGHT_PIXELS("r2", "r3", "r3")    \
  LITESIGHT_DUAL("r4", "r2", "r10")     \
  LITESIGHT_BB("r4", "r3", "r11")       \
  LITESIGHT_DUAL("r5", "r3", "r10")     \
  LITESIGHT_TB("r5", "r2", "r11")       \
  LITESIGHT_TB("r6", "r2", "r10")       \
  LITESIGHT_TB("r6", "r3", "r11")       \
  LITESIGHT_TB("r7", "r3", "r10")       \
  LITESIGHT_PIXELS("r1", "r12", "r12")  \
  LITESIGHT_BT("r6", "r1", "r10")       \
  LITESIGHT_BB("r7", "r1", "r11")       \
  LITESIGHT_BT("r7", "r12", "r10")      \
  LITESIGHT_DUAL("r8", "r1", "r10")     \
  LITESIGHT_BB("r8", "r12", "r11")      \
  LITESIGHT_BB("r9", "r12", "r10")      \
  LITESIGHT_TB("r9", "r1", "r11")

LITESIGHT_DEPTHWISE_WIDE("litesight_depthwise_3x3_wide", 3, FIRST, MIDDLE, LAST);
/* clang-format on */

void litesight_depthwise_3x3_wide_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_depthwise_row(layer, arena, step, 2, litesight_depthwise_3x3_wide);
}
