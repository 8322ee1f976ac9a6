/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_dot_assembly.h"

/*
 * Three pixels, two channels at a time: 19 instructions for 24 products.
 *
 * r0 weights, r1 panel, r2, r3 and lr weights, r4-r6 pixels, r7-r9 sums of the one channel, r10-r12 of the other.
 */
/* clang-format off: one instruction a line. */
#define THREE(w, a, b, c)      \
  "smlad " a ", r4, " w ", " a \
  "\n"                         \
  "smlad " b ", r5, " w ", " b \
  "\n"                         \
  "smlad " c ", r6, " w ", " c "\n"

/* The bias is in c. */
#define FIRST_THREE(w, a, b, c) \
  "smlad " a ", r4, " w ", " c  \
  "\n"                          \
  "smlad " b ", r5, " w ", " c  \
  "\n"                          \
  "smlad " c ", r6, " w ", " c "\n"

#define FOUR_VALUES(first) \
  "ldrd r2, r3, [r0], #8\n"        \
  "ldmia r1!, {r4, r5, r6}\n"      \
  "sxtb16 lr, r2\n"                \
  first("lr", "r7", "r8", "r9")    \
  "sxtb16 lr, r3\n"                \
  first("lr", "r10", "r11", "r12") \
  "ldmia r1!, {r4, r5, r6}\n"      \
  "sxtb16 r2, r2, ror #8\n"        \
  THREE("r2", "r7", "r8", "r9")    \
  "sxtb16 r3, r3, ror #8\n"        \
  THREE("r3", "r10", "r11", "r12")

/*
 * From the words with the biases in r1 and r3 to sums, exponents r1 and r3, multipliers r2 and r4. No register is left
 * for a count: the loop ends where the panel does.
 */
#define SUMS(loop, end)                                                        \
  "bic r9, r1, #255\n"                                                         \
  "bic r12, r3, #255\n"                                                        \
  "ldr r1, " LITESIGHT_PANEL "\n" FOUR_VALUES(FIRST_THREE)                     \
      FOUR_VALUES(THREE) "ldr lr, " LITESIGHT_PANEL_END                        \
                         "\n"                                                  \
                         "cmp r1, lr\n"                                        \
                         "beq " end "f\n" loop ":\n" FOUR_VALUES(THREE)        \
                             FOUR_VALUES(THREE) "ldr lr, " LITESIGHT_PANEL_END \
                                                "\n"                           \
                                                "cmp r1, lr\n"                 \
                                                "bne " loop "b\n" end          \
                                                ":\n"                          \
                                                "ldmia r0!, {r1-r4}\n"

#define CLAMPED(sum) LITESIGHT_CLAMPED(sum, "r2", "lr", "r1")
#define CLAMPED2(sum) LITESIGHT_CLAMPED(sum, "r4", "r5", "r3")
#define LINEAR(sum) LITESIGHT_LINEAR(sum, "r2", "lr", "r1", "r6")
#define LINEAR2(sum) LITESIGHT_LINEAR(sum, "r4", "r5", "r3", "r6")

/* Outputs at r6. */
#define BOTH_CLAMPED                   \
  "ldrd r5, r6, " LITESIGHT_ZERO_TERMS \
  "\n"                                 \
  "lsl lr, r5, r1\n"                   \
  "lsl r5, r5, r3\n"                   \
  "add lr, lr, #64\n"                  \
  "add r5, r5, #64\n" CLAMPED("r7") CLAMPED("r8") CLAMPED("r9") CLAMPED2("r10") CLAMPED2("r11") CLAMPED2("r12")

#define BOTH_LINEAR                                                                       \
  "ldr r5, " LITESIGHT_ZERO_TERMS                                                         \
  "\n"                                                                                    \
  "lsl lr, r5, r1\n"                                                                      \
  "lsl r5, r5, r3\n" LINEAR("r7") LINEAR("r8") LINEAR("r9") LINEAR2("r10") LINEAR2("r11") \
      LINEAR2("r12") "ldr r6, " LITESIGHT_OUTPUT "\n"

/* With an odd number of channels, the last pair has one only. */
__asm__(LITESIGHT_BEGIN(
    "litesight_dot_3x2",
    "4") "ldr r1, [r0], #4\n"
         "ldr r3, [r0], #4\n"
         "1:\n" SUMS("2", "3") BOTH_CLAMPED "ldr r2, " LITESIGHT_CHANNEL_STRIDE
                                            "\n"
                                            "ldr lr, " LITESIGHT_END
                                            "\n"
                                            "strb r7, [r6]\n"
                                            "strb r8, [r6, #1]\n"
                                            "strb r9, [r6, #2]\n"
                                            "add r6, r6, r2\n"
                                            "cmp r6, lr\n"
                                            "beq 9f\n"
                                            "strb r10, [r6]\n"
                                            "strb r11, [r6, #1]\n"
                                            "strb r12, [r6, #2]\n"
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
                                                                  "strb r7, [r6]\n"
                                                                  "strb r8, [r6, r4]\n"
                                                                  "strb r9, [r6, r4, lsl #1]\n"
                                                                  "add r6, r6, r2\n"
                                                                  "cmp r6, lr\n"
                                                                  "beq 9f\n"
                                                                  "strb r10, [r6]\n"
                                                                  "strb r11, [r6, r4]\n"
                                                                  "strb r12, [r6, r4, lsl #1]\n"
                                                                  "add r6, r6, r2\n"
                                                                  "str r6, " LITESIGHT_OUTPUT
                                                                  "\n"
                                                                  "cmp r6, lr\n"
                                                                  "bne 5b\n"
                                                                  "9:\n" LITESIGHT_END_OF("litesight_dot_3x2"));
/* clang-format on */
