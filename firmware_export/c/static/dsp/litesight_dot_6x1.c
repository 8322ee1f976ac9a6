/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_dot_assembly.h"

/*
 * Six pixels, one channel at a time: 19 instructions for 24 products.
 *
 * r0 weights, r1 panel, r2 and r3 weights unpacked, r4-r6 pixels, r7-r12 sums, lr count.
 */
/* clang-format off: one instruction a line. */
#define THREE(w, a, b, c)      \
  "ldmia r1!, {r4, r5, r6}\n"  \
  "smlad " a ", r4, " w ", " a \
  "\n"                         \
  "smlad " b ", r5, " w ", " b \
  "\n"                         \
  "smlad " c ", r6, " w ", " c "\n"

/* The bias is in r12. */
#define FIRST_THREE(w, a, b, c) \
  "ldmia r1!, {r4, r5, r6}\n"   \
  "smlad " a ", r4, " w         \
  ", r12\n"                     \
  "smlad " b ", r5, " w         \
  ", r12\n"                     \
  "smlad " c ", r6, " w ", r12\n"

#define UNPACK         \
  "ldr r2, [r0], #4\n" \
  "sxtb16 r3, r2\n"    \
  "sxtb16 r2, r2, ror #8\n"

#define FOUR_VALUES                \
  UNPACK                           \
  THREE("r3", "r7", "r8", "r9")    \
  THREE("r3", "r10", "r11", "r12") \
  THREE("r2", "r7", "r8", "r9")    \
  THREE("r2", "r10", "r11", "r12")

/* From the word with the bias in r2 to sums, exponent r2 and multiplier r3. */
#define SUMS(loop, end)                                                                                     \
  "bic r12, r2, #255\n"                                                                                     \
  "ldrd r1, lr, " LITESIGHT_PANEL "\n" UNPACK FIRST_THREE("r3", "r7", "r8", "r9")                           \
      FIRST_THREE("r3", "r10", "r11", "r12") THREE("r2", "r7", "r8", "r9") THREE("r2", "r10", "r11", "r12") \
          FOUR_VALUES                                                                                       \
      "subs lr, lr, #1\n"                                                                                   \
      "blt " end "f\n" loop ":\n" FOUR_VALUES FOUR_VALUES                                                   \
      "subs lr, lr, #1\n"                                                                                   \
      "bge " loop "b\n" end                                                                                 \
      ":\n"                                                                                                 \
      "ldrd r2, r3, [r0], #8\n"

#define CLAMPED(sum) LITESIGHT_CLAMPED(sum, "r3", "r4", "r2")
#define LINEAR(sum) LITESIGHT_LINEAR(sum, "r3", "r4", "r2", "lr")
#define ALL(of) of("r7") of("r8") of("r9") of("r10") of("r11") of("r12")

__asm__(LITESIGHT_BEGIN("litesight_dot_6x1", "4")
        "ldr r2, [r0], #4\n"
        "1:\n"
        SUMS("2", "3")
        "ldmia sp, {r1, r4, r5, r6, lr}\n" /* up to the end of the outputs */
        "lsl r4, r4, r2\n"
        "add r4, r4, #64\n"
        ALL(CLAMPED)
        "strb r7, [r5]\n"
        "strb r8, [r5, #1]\n"
        "strb r9, [r5, #2]\n"
        "strb r10, [r5, #3]\n"
        "strb r11, [r5, #4]\n"
        "strb r12, [r5, #5]\n"
        "add r5, r5, r1\n"
        "str r5, " LITESIGHT_OUTPUT "\n"
        "cmp r5, lr\n"
        "bne 1b\n"
        "b 9f\n"

        "4:\n"
        "ldr r2, [r0], #4\n"
        "5:\n"
        SUMS("6", "7")
        "ldr r1, " LITESIGHT_IS_LINEAR "\n"
        "cmp r1, #0\n"
        "ldmia sp, {r1, r4, r5, r6, lr}\n"
        "lsl r4, r4, r2\n"
        "bne 6f\n"
        "add r4, r4, #64\n"
        ALL(CLAMPED)
        "b 7f\n"
        "6:\n"
        ALL(LINEAR)
        "ldr lr, " LITESIGHT_END "\n"
        "7:\n"
        "add r3, r5, r6\n"
        "add r3, r3, r6, lsl #1\n"
        "strb r7, [r5]\n"
        "strb r8, [r5, r6]\n"
        "strb r9, [r5, r6, lsl #1]\n"
        "strb r10, [r3]\n"
        "strb r11, [r3, r6]\n"
        "strb r12, [r3, r6, lsl #1]\n"
        "add r5, r5, r1\n"
        "str r5, " LITESIGHT_OUTPUT "\n"
        "cmp r5, lr\n"
        "bne 5b\n"
        "9:\n"
        LITESIGHT_END_OF("litesight_dot_6x1"));
/* clang-format on */
