/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_dot_assembly.h"

/*
 * Any multiple of four pixels with 8 values, planar output, is_linear = 0: 9.75 instructions per output. The panel is
 * another one here, four words a pixel: values (0, 2), (1, 3), (4, 6), (5, 7). A channel's weights stay in registers.
 * channel_stride is less by the number of pixels: from the last pixel of a channel to the first of the next.
 *
 * r0 output, r1 panel, r2-r5 weights, r6-r9 pixel, r10 bias, r11 exponent, r12 multiplier, lr constant.
 */
/* clang-format off: one instruction a line. */
#define WEIGHTS "[sp, #36]"
#define PIXEL                 \
  "ldmia r1!, {r6-r9}\n"      \
  "smlad r6, r6, r2, r10\n"   \
  "smlad r6, r7, r3, r6\n"    \
  "smlad r6, r8, r4, r6\n"    \
  "smlad r6, r9, r5, r6\n"    \
  "smmla r6, r6, r12, lr\n"   \
  "asr r6, r6, r11\n"         \
  "ssat r6, #8, r6, asr #1\n" \
  "strb r6, [r0], #1\n"

__asm__(LITESIGHT_BEGIN(
    "litesight_dot_8",
    "9") "ldr r11, [r0], #4\n"
         "str r0, " WEIGHTS
         "\n"
         "ldr r0, " LITESIGHT_OUTPUT
         "\n"
         "1:\n"
         "bic r10, r11, #255\n"
         "ldr r6, " WEIGHTS
         "\n"
         "ldmia r6!, {r2, r4, r11, r12}\n"
         "str r6, " WEIGHTS
         "\n"
         "ldr lr, " LITESIGHT_ZERO_TERMS
         "\n"
         "sxtb16 r3, r2, ror #8\n"
         "sxtb16 r2, r2\n"
         "sxtb16 r5, r4, ror #8\n"
         "sxtb16 r4, r4\n"
         "lsl lr, lr, r11\n"
         "add lr, lr, #64\n"
         "ldr r1, " LITESIGHT_PANEL
         "\n"
         "2:\n" PIXEL PIXEL PIXEL PIXEL "ldr r6, " LITESIGHT_PANEL_END
         "\n"
         "cmp r1, r6\n"
         "bne 2b\n"
         "ldr r6, " LITESIGHT_CHANNEL_STRIDE
         "\n"
         "ldr r7, " LITESIGHT_END
         "\n"
         "add r0, r0, r6\n"
         "cmp r0, r7\n"
         "bne 1b\n"
         "9:\n" LITESIGHT_END_OF("litesight_dot_8"));
/* clang-format on */
