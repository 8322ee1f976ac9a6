/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_dot_assembly.h"

/*
 * Two pixels, two channels at a time: 14 instructions for 16 products.
 *
 * r0 weights, r1 panel, r2, r3 and r12 weights, r4-r7 pixels, r8 and r9 sums of the one channel, r10 and r11 of the
 * other, lr count.
 */
/* clang-format off: one instruction a line. */
#define TWO(w, x, y, a, b)        \
  "smlad " a ", " x ", " w ", " a \
  "\n"                            \
  "smlad " b ", " y ", " w ", " b "\n"

/* The bias is in b. */
#define FIRST_TWO(w, x, y, a, b)  \
  "smlad " a ", " x ", " w ", " b \
  "\n"                            \
  "smlad " b ", " y ", " w ", " b "\n"

#define FOUR_VALUES(first)                                                          \
  "ldrd r2, r3, [r0], #8\n"                                                         \
  "ldmia r1!, {r4-r7}\n"                                                            \
  "sxtb16 r12, r2\n" first("r12", "r4", "r5", "r8", "r9") "sxtb16 r12, r3\n" first( \
      "r12", "r4", "r5", "r10",                                                     \
      "r11") "sxtb16 r2, r2, ror #8\n" TWO("r2", "r6", "r7", "r8",                  \
                                           "r9") "sxtb16 r3, r3, ror #8\n" TWO("r3", "r6", "r7", "r10", "r11")

/* From the words with the biases in r1 and r3 to sums, exponents r1 and r3, multipliers r2 and r4. */
#define SUMS(loop, end) \
  "bic r9, r1, #255\n"                 \
  "bic r11, r3, #255\n"                \
  "ldrd r1, lr, " LITESIGHT_PANEL "\n" \
  FOUR_VALUES(FIRST_TWO)               \
  FOUR_VALUES(TWO)                     \
  "subs lr, lr, #1\n"                  \
  "blt " end "f\n"                     \
  loop ":\n"                           \
  FOUR_VALUES(TWO)                     \
  FOUR_VALUES(TWO)                     \
  "subs lr, lr, #1\n"                  \
  "bge " loop "b\n"                    \
  end ":\n"                            \
  "ldmia r0!, {r1-r4}\n"

#define CLAMPED(sum) LITESIGHT_CLAMPED(sum, "r2", "lr", "r1")
#define CLAMPED2(sum) LITESIGHT_CLAMPED(sum, "r4", "r5", "r3")
#define LINEAR(sum) LITESIGHT_LINEAR(sum, "r2", "lr", "r1", "r12")
#define LINEAR2(sum) LITESIGHT_LINEAR(sum, "r4", "r5", "r3", "r12")

/* Outputs at r6. */
#define BOTH(one, other, add)          \
  "ldrd r5, r6, " LITESIGHT_ZERO_TERMS \
  "\n"                                 \
  "lsl lr, r5, r1\n"                   \
  "lsl r5, r5, r3\n" add one("r8") one("r9") other("r10") other("r11")
#define BOTH_CLAMPED BOTH(CLAMPED, CLAMPED2, "add lr, lr, #64\nadd r5, r5, #64\n")
#define BOTH_LINEAR BOTH(LINEAR, LINEAR2, "")

/* With an odd number of channels, the last pair has one only. */
__asm__(LITESIGHT_BEGIN(
    "litesight_dot_2x2",
    "4") "ldr r1, [r0], #4\n"
         "ldr r3, [r0], #4\n"
         "1:\n" SUMS("2", "3") BOTH_CLAMPED "ldr r2, " LITESIGHT_CHANNEL_STRIDE
                                            "\n"
                                            "ldr lr, " LITESIGHT_END
                                            "\n"
                                            "strb r8, [r6]\n"
                                            "strb r9, [r6, #1]\n"
                                            "add r6, r6, r2\n"
                                            "cmp r6, lr\n"
                                            "beq 9f\n"
                                            "strb r10, [r6]\n"
                                            "strb r11, [r6, #1]\n"
                                            "add r6, r6, r2\n"
                                            "str r6, " LITESIGHT_OUTPUT
                                            "\n"
                                            "cmp r6, lr\n"
                                            "bne 1b\n"
                                            "b 9f\n"

                                            "4:\n"
                                            "ldr r1, [r0], #4\n"
                                            "ldr r3, [r0], #4\n"
                                            "5:\n" SUMS("6", "7") "ldr r5, " LITESIGHT_IS_LINEAR
                                                                  "\n"
                                                                  "cmp r5, #0\n"
                                                                  "bne 6f\n" BOTH_CLAMPED
                                                                  "b 7f\n"
                                                                  "6:\n" BOTH_LINEAR
                                                                  "7:\n"
                                                                  "ldr r2, " LITESIGHT_CHANNEL_STRIDE
                                                                  "\n"
                                                                  "ldrd r4, lr, " LITESIGHT_PIXEL_STRIDE
                                                                  "\n"
                                                                  "strb r8, [r6]\n"
                                                                  "strb r9, [r6, r4]\n"
                                                                  "add r6, r6, r2\n"
                                                                  "cmp r6, lr\n"
                                                                  "beq 9f\n"
                                                                  "strb r10, [r6]\n"
                                                                  "strb r11, [r6, r4]\n"
                                                                  "add r6, r6, r2\n"
                                                                  "str r6, " LITESIGHT_OUTPUT
                                                                  "\n"
                                                                  "cmp r6, lr\n"
                                                                  "bne 5b\n"
                                                                  "9:\n" LITESIGHT_END_OF("litesight_dot_2x2"));
/* clang-format on */
