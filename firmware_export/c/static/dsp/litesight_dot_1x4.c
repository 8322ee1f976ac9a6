/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_dot_assembly.h"

/*
 * One pixel, four channels at a time: 20 instructions for 16 products. `panel` is the pixel itself, int8, from any
 * address, for it is too seldom used to be worth unpacking beforehand; `groups` values of eight, less one.
 *
 * r0 weights, r1 pixel, r2-r5 and r12 weights, r6 and r7 values, r8-r11 sums, lr count.
 */
/* clang-format off: one instruction a line. */
#define CHANNEL(w, sum)          \
  "sxtb16 r12, " w               \
  "\n"                           \
  "smlad " sum ", r6, r12, " sum \
  "\n"                           \
  "sxtb16 " w ", " w             \
  ", ror #8\n"                   \
  "smlad " sum ", r7, " w ", " sum "\n"

#define FOUR_VALUES      \
  "ldmia r0!, {r2-r5}\n" \
  "ldr r7, [r1], #4\n"   \
  "sxtb16 r6, r7\n"      \
  "sxtb16 r7, r7, ror #8\n" CHANNEL("r2", "r8") CHANNEL("r3", "r9") CHANNEL("r4", "r10") CHANNEL("r5", "r11")

/* Outputs at r6; leaves when there are no more channels. The next bias goes to the sum's register. */
#define CLAMPED(sum)        \
  "ldrd r2, r3, [r0], #8\n" \
  "lsl " sum ", " sum       \
  ", #8\n"                  \
  "lsl r5, r4, r2\n"        \
  "add r5, r5, #64\n" LITESIGHT_CLAMPED(sum, "r3", "r5", "r2") STORE(sum)

#define LINEAR(sum)         \
  "ldrd r2, r3, [r0], #8\n" \
  "lsl " sum ", " sum       \
  ", #8\n"                  \
  "lsl r5, r4, r2\n" LITESIGHT_LINEAR(sum, "r3", "r5", "r2", "r12") STORE(sum)

#define STORE(sum)   \
  "strb " sum        \
  ", [r6]\n"         \
  "asr " sum         \
  ", r2, #8\n"       \
  "add r6, r6, r7\n" \
  "cmp r6, lr\n"     \
  "beq 9f\n"

/* The last channels may be fewer than four. */
__asm__(LITESIGHT_BEGIN("litesight_dot_1x4", "1")
        "1:\n"
        "ldmia r0!, {r8-r11}\n"
        "asr r8, r8, #8\n"
        "asr r9, r9, #8\n"
        "asr r10, r10, #8\n"
        "asr r11, r11, #8\n"
        "2:\n"
        "ldrd r1, lr, " LITESIGHT_PANEL "\n"
        "3:\n"
        FOUR_VALUES
        FOUR_VALUES
        "subs lr, lr, #1\n"
        "bge 3b\n"
        "ldr r2, " LITESIGHT_IS_LINEAR "\n"
        "ldr r7, " LITESIGHT_CHANNEL_STRIDE "\n"
        "ldr lr, " LITESIGHT_END "\n"
        "ldrd r4, r6, " LITESIGHT_ZERO_TERMS "\n"
        "cmp r2, #0\n"
        "bne 4f\n"
        CLAMPED("r8")
        CLAMPED("r9")
        CLAMPED("r10")
        CLAMPED("r11")
        "b 5f\n"
        "4:\n"
        LINEAR("r8")
        LINEAR("r9")
        LINEAR("r10")
        LINEAR("r11")
        "5:\n"
        "str r6, " LITESIGHT_OUTPUT "\n"
        "b 2b\n"
        "9:\n"
        LITESIGHT_END_OF("litesight_dot_1x4"));
/* clang-format on */
