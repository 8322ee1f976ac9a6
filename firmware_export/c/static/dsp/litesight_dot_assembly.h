/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of assembly code that the loops of litesight_dot.h share. */
#ifndef LITESIGHT_DOT_ASSEMBLY_H
#define LITESIGHT_DOT_ASSEMBLY_H

#include "litesight_dot.h"

/* On the stack lies a copy of litesight_dot, up to the weights, in the order of the structure. */
#define LITESIGHT_CHANNEL_STRIDE "[sp, #0]"
#define LITESIGHT_ZERO_TERMS "[sp, #4]"
#define LITESIGHT_OUTPUT "[sp, #8]"
#define LITESIGHT_PIXEL_STRIDE "[sp, #12]"
#define LITESIGHT_END "[sp, #16]"
#define LITESIGHT_PANEL "[sp, #20]"
#define LITESIGHT_GROUPS "[sp, #24]"
#define LITESIGHT_IS_LINEAR "[sp, #28]"
#define LITESIGHT_PANEL_END "[sp, #32]"
_Static_assert(offsetof(litesight_dot, zero_terms) == 4 && offsetof(litesight_dot, output) == 8 &&
                   offsetof(litesight_dot, pixel_stride) == 12 && offsetof(litesight_dot, end) == 16 &&
                   offsetof(litesight_dot, panel) == 20 && offsetof(litesight_dot, groups) == 24 &&
                   offsetof(litesight_dot, is_linear) == 28 && offsetof(litesight_dot, panel_end) == 32 &&
                   offsetof(litesight_dot, weights) == 36,
               "the assembly code has these offsets");

/* clang-format off: one instruction a line. */

/*
 * Saves registers and copies the structure; r0 becomes the weights. Goes to the label `any` unless outputs lie side by
 * side and are clamped at the zero point, for which there is a faster loop.
 */
#define LITESIGHT_BEGIN(name, any)   \
  ".syntax unified\n"                \
  ".section .text." name             \
  ", \"ax\", %progbits\n"            \
  ".p2align 2\n"                     \
  ".global " name                    \
  "\n"                               \
  ".thumb_func\n"                    \
  ".type " name ", %function\n" name \
  ":\n"                              \
  "push {r0, r4-r11, lr}\n"          \
  "sub sp, sp, #40\n"                \
  "ldmia r0, {r1-r10}\n"             \
  "stmia sp, {r1-r9}\n"              \
  "mov r0, r10\n"                    \
  "cmp r4, #1\n"                     \
  "it eq\n"                          \
  "cmpeq r8, #0\n"                   \
  "bne " any "f\n"

#define LITESIGHT_END_OF(name) \
  "add sp, sp, #44\n"          \
  "pop {r4-r11, pc}\n"         \
  ".size " name ", . - " name "\n.text\n"

/* sum = output of the sum. */
#define LITESIGHT_CLAMPED(sum, multiplier, constant, exponent) \
  "smmla " sum ", " sum ", " multiplier ", " constant          \
  "\n"                                                         \
  "asr " sum ", " sum ", " exponent                            \
  "\n"                                                         \
  "ssat " sum ", #8, " sum ", asr #1\n"

#define LITESIGHT_LINEAR(sum, multiplier, constant, exponent, spare) \
  "asr " sum ", " sum                                                \
  ", #7\n"                                                           \
  "smmlar " spare ", " sum ", " multiplier ", " constant             \
  "\n"                                                               \
  "add " spare ", " spare ", " sum                                   \
  ", asr #31\n"                                                      \
  "asr " spare ", " spare ", " exponent                              \
  "\n"                                                               \
  "ssat " sum ", #8, " spare ", asr #1\n"

/* clang-format on */

#endif
