/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_dot_assembly.h"

/*
 * Four pixels, one channel at a time: 25 instructions for 32 products.
 *
 * r0 weights, r1 panel, r2, r3 and r12 weights, r4-r7 pixels, r8-r11 sums, lr count.
 */
/* clang-format off: one instruction a line. */
#define FOUR(w)          \
  "ldmia r1!, {r4-r7}\n" \
  "smlad r8, r4, " w     \
  ", r8\n"               \
  "smlad r9, r5, " w     \
  ", r9\n"               \
  "smlad r10, r6, " w    \
  ", r10\n"              \
  "smlad r11, r7, " w ", r11\n"

/* The bias is in r11. */
#define FIRST_FOUR(w)    \
  "ldmia r1!, {r4-r7}\n" \
  "smlad r8, r4, " w     \
  ", r11\n"              \
  "smlad r9, r5, " w     \
  ", r11\n"              \
  "smlad r10, r6, " w    \
  ", r11\n"              \
  "smlad r11, r7, " w ", r11\n"

#define EIGHT_VALUES(first)                                                                     \
  "ldrd r2, r3, [r0], #8\n"                                                                     \
  "sxtb16 r12, r2\n" first("r12") "sxtb16 r2, r2, ror #8\n" FOUR("r2") "sxtb16 r12, r3\n" FOUR( \
      "r12") "sxtb16 r3, r3, ror #8\n" FOUR("r3")

/* From the word with the bias in r2 to sums, exponent r2 and multiplier r3. */
#define SUMS(loop, end) \
  "bic r11, r2, #255\n"                \
  "ldrd r1, lr, " LITESIGHT_PANEL "\n" \
  EIGHT_VALUES(FIRST_FOUR)             \
  "subs lr, lr, #1\n"                  \
  "blt " end "f\n"                     \
  loop ":\n"                           \
  EIGHT_VALUES(FOUR)                   \
  "subs lr, lr, #1\n"                  \
  "bge " loop "b\n"                    \
  end ":\n"                            \
  "ldrd r2, r3, [r0], #8\n"

#define CLAMPED(sum) LITESIGHT_CLAMPED(sum, "r3", "r4", "r2")
#define LINEAR(sum) LITESIGHT_LINEAR(sum, "r3", "r4", "r2", "r7")
#define ALL(of) of("r8") of("r9") of("r10") of("r11")

__asm__(LITESIGHT_BEGIN("litesight_dot_4x1", "4")
        "ldr r2, [r0], #4\n"
        "1:\n"
        SUMS("2", "3")
        "ldmia sp, {r1, r4, r5, r6, lr}\n" /* up to the end of the outputs */
        "lsl r4, r4, r2\n"
        "add r4, r4, #64\n"
        ALL(CLAMPED)
        "strb r8, [r5]\n"
        "strb r9, [r5, #1]\n"
        "strb r10, [r5, #2]\n"
        "strb r11, [r5, #3]\n"
        "add r5, r5, r1\n"
        "str r5, " LITESIGHT_OUTPUT "\n"
        "cmp r5, lr\n"
        "bne 1b\n"
        "b 9f\n"

        "4:\n"
        "ldr r2, [r0], #4\n"
        "5:\n"
        SUMS("6", "7")
        "ldr r12, " LITESIGHT_IS_LINEAR "\n"
        "cmp r12, #0\n"
        "ldmia sp, {r1, r4, r5, r6, lr}\n"
        "lsl r4, r4, r2\n"
        "bne 6f\n"
        "add r4, r4, #64\n"
        ALL(CLAMPED)
        "b 7f\n"
        "6:\n"
        ALL(LINEAR)
        "7:\n"
        "add r3, r5, r6\n"
        "strb r8, [r5]\n"
        "strb r9, [r5, r6]\n"
        "strb r10, [r5, r6, lsl #1]\n"
        "strb r11, [r3, r6, lsl #1]\n"
        "add r5, r5, r1\n"
        "str r5, " LITESIGHT_OUTPUT "\n"
        "cmp r5, lr\n"
        "bne 5b\n"
        "9:\n"
        LITESIGHT_END_OF("litesight_dot_4x1"));
/* clang-format on */
