/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of assembly code that the depthwise loops share. A *block* is 6, 3 or 2 neighbouring outputs of a channel:
 * sums, the rows of the window one after the other, requantisation. The code of the rows is unrolled; where some of
 * them are outside the map, it is entered later.
 *
 * r0 weights of the last row; r4-r9 sums; r10-r12 weights; r1-r3 pixels and their address; lr the zero point, negated.
 */
#ifndef LITESIGHT_DEPTHWISE_ASSEMBLY_H
#define LITESIGHT_DEPTHWISE_ASSEMBLY_H

#include "litesight_depthwise.h"

/* On the stack: litesight_depthwise, and behind it where the blocks' rows are entered. */
#define LITESIGHT_CHANNELS "[sp]"
#define LITESIGHT_OUTPUT "[sp, #8]"
#define LITESIGHT_CHANNELS_END "[sp, #16]"
#define LITESIGHT_NEXT_CHANNEL "[sp, #20]"
#define LITESIGHT_MIDDLE "[sp, #24]"
#define LITESIGHT_MIDDLE_LEFT "[sp, #28]"
#define LITESIGHT_BACK "[sp, #32]"
#define LITESIGHT_BACK_OUTPUT "[sp, #36]"
#define LITESIGHT_ROW_0 "[sp, #40]"
#define LITESIGHT_ROW_1 "[sp, #44]"
#define LITESIGHT_ROW_2 "[sp, #48]"
#define LITESIGHT_ROW_3 "[sp, #52]"
#define LITESIGHT_ROW_4 "[sp, #56]"
#define LITESIGHT_ENTRY_1 "[sp, #72]"
#define LITESIGHT_ENTRY_2 "[sp, #76]"
#define LITESIGHT_ENTRY_3 "[sp, #80]"
_Static_assert(offsetof(litesight_depthwise, zero_terms) == 4 && offsetof(litesight_depthwise, output) == 8 &&
                   offsetof(litesight_depthwise, pixel_stride) == 12 &&
                   offsetof(litesight_depthwise, channels_end) == 16 &&
                   offsetof(litesight_depthwise, next_channel) == 20 && offsetof(litesight_depthwise, middle) == 24 &&
                   offsetof(litesight_depthwise, middle_left) == 28 && offsetof(litesight_depthwise, back) == 32 &&
                   offsetof(litesight_depthwise, back_output) == 36 && offsetof(litesight_depthwise, rows) == 40 &&
                   offsetof(litesight_depthwise, rows_outside) == 60 && offsetof(litesight_depthwise, zero) == 64 &&
                   offsetof(litesight_depthwise, weights) == 68 && sizeof(litesight_depthwise) == 72,
               "the assembly code has these offsets");

/* clang-format off: one instruction a line. */

/*
 * The rows of a window, the first two with labels: `row` is a macro of the address of the row's pixels, of the operands
 * that address weights 0 to 3 and, in front of it in the code, weights 1 to 4 (or -1 to 2). The last row moves r0 on to
 * the next channel.
 */
#define LITESIGHT_ROWS_5(first, second, row, last)                                                           \
  first ":\n" row(LITESIGHT_ROW_0, "[r0, #-20]", "[r0, #-19]") second                                        \
      ":\n" row(LITESIGHT_ROW_1, "[r0, #-15]", "[r0, #-14]") row(LITESIGHT_ROW_2, "[r0, #-10]", "[r0, #-9]") \
          row(LITESIGHT_ROW_3, "[r0, #-5]", "[r0, #-4]") row(LITESIGHT_ROW_4, last, "[r0, #1]")
#define LITESIGHT_ROWS_3(first, second, row, last)                  \
  first ":\n" row(LITESIGHT_ROW_0, "[r0, #-6]", "[r0, #-7]") second \
      ":\n" row(LITESIGHT_ROW_1, "[r0, #-3]", "[r0, #-4]") row(LITESIGHT_ROW_2, last, "[r0, #-1]")
#define LITESIGHT_SAME_CHANNEL "[r0]"
#define LITESIGHT_NEXT_CHANNEL_5 "[r0], #25"
#define LITESIGHT_NEXT_CHANNEL_3 "[r0], #9"

/* By r3 back in the rows. */
#define LITESIGHT_ROW_BACK(row) \
  "ldr r1, " row                \
  "\n"                          \
  "sub r1, r1, r3\n"            \
  "str r1, " row "\n"
#define LITESIGHT_ROWS_BACK_3 \
  LITESIGHT_ROW_BACK(LITESIGHT_ROW_0) LITESIGHT_ROW_BACK(LITESIGHT_ROW_1) LITESIGHT_ROW_BACK(LITESIGHT_ROW_2)
#define LITESIGHT_ROWS_BACK_5 \
  LITESIGHT_ROWS_BACK_3 LITESIGHT_ROW_BACK(LITESIGHT_ROW_3) LITESIGHT_ROW_BACK(LITESIGHT_ROW_4)

/* Weights of a row of a 5x5 window: r10 = (w0, w2), r11 = (w1, w3), r12 = (w2, w4). */
#define LITESIGHT_WEIGHTS_5(w0, w1) \
  "ldr r12, " w1                    \
  "\n"                              \
  "ldr r10, " w0                    \
  "\n"                              \
  "sxtb16 r12, r12, ror #8\n"       \
  "sxtb16 r11, r10, ror #8\n"       \
  "sxtb16 r10, r10\n"

/* Weights of a row of a 3x3 window, times 256: r10 = (w0, w2), r11 = (w1, anything). */
#define LITESIGHT_WEIGHTS_3(w0, before) \
  "ldr r10, " before                    \
  "\n"                                  \
  "ldr r11, " w0                        \
  "\n"                                  \
  "and r10, r10, #0xff00ff00\n"         \
  "and r11, r11, #0xff00ff00\n"

/* Pixels: `even` = (x0, x2), `odd` = (x1, x3), relative to the zero point. `odd` and the word may be one register. */
#define LITESIGHT_PIXELS(even, odd, word) \
  "sxtab16 " even ", lr, " word           \
  "\n"                                    \
  "sxtab16 " odd ", lr, " word ", ror #8\n"

#define LITESIGHT_DUAL(sum, pixels, weights) "smlad " sum ", " pixels ", " weights ", " sum "\n"
#define LITESIGHT_BB(sum, pixel, weight) "smlabb " sum ", " pixel ", " weight ", " sum "\n"
#define LITESIGHT_BT(sum, pixel, weight) "smlabt " sum ", " pixel ", " weight ", " sum "\n"
#define LITESIGHT_TB(sum, pixel, weight) "smlatb " sum ", " pixel ", " weight ", " sum "\n"
#define LITESIGHT_TT(sum, pixel, weight) "smlatt " sum ", " pixel ", " weight ", " sum "\n"

/* r2 has the bias in its upper bytes. */
#define LITESIGHT_BIAS_5 "asr r4, r2, #8\n"
#define LITESIGHT_BIAS_3 "bic r4, r2, #255\n"
#define LITESIGHT_SUMS_2 "mov r5, r4\n"
#define LITESIGHT_SUMS_3 LITESIGHT_SUMS_2 "mov r6, r4\n"
#define LITESIGHT_SUMS_1 ""
#define LITESIGHT_SUMS_4 LITESIGHT_SUMS_3 "mov r7, r4\n"
#define LITESIGHT_SUMS_5 LITESIGHT_SUMS_4 "mov r8, r4\n"
#define LITESIGHT_SUMS_6 LITESIGHT_SUMS_5 "mov r9, r4\n"

#define LITESIGHT_SUMS(size, pixels, entry) LITESIGHT_BIAS_##size LITESIGHT_SUMS_##pixels "ldr pc, " entry "\n"

/* r1 channels, r10 zero terms, r11 output, r12 pixel stride; r2 the exponent, r3 the multiplier. */
#define LITESIGHT_SCALE             \
  "ldmia sp, {r1, r10, r11, r12}\n" \
  "ldrd r2, r3, [r1]\n"             \
  "lsl r10, r10, r2\n"
#define LITESIGHT_SCALE_LAST        \
  "ldmia sp, {r1, r10, r11, r12}\n" \
  "ldrd r2, r3, [r1], #8\n"         \
  "str r1, " LITESIGHT_CHANNELS     \
  "\n"                              \
  "lsl r10, r10, r2\n"

#define LITESIGHT_OUT_5(sum) \
  "lsl " sum ", " sum        \
  ", #1\n"                   \
  "smmlar " sum ", " sum     \
  ", r3, r10\n"              \
  "asr " sum ", " sum        \
  ", r2\n"                   \
  "ssat " sum ", #8, " sum ", asr #1\n"
#define LITESIGHT_OUT_3(sum) \
  "smmla " sum ", " sum      \
  ", r3, r10\n"              \
  "asr " sum ", " sum        \
  ", r2\n"                   \
  "ssat " sum ", #8, " sum ", asr #1\n"
#define LITESIGHT_OUTS_5_1 LITESIGHT_OUT_5("r4")
#define LITESIGHT_OUTS_5_2 LITESIGHT_OUTS_5_1 LITESIGHT_OUT_5("r5")
#define LITESIGHT_OUTS_5_3 LITESIGHT_OUTS_5_2 LITESIGHT_OUT_5("r6")
#define LITESIGHT_OUTS_5_4 LITESIGHT_OUTS_5_3 LITESIGHT_OUT_5("r7")
#define LITESIGHT_OUTS_5_5 LITESIGHT_OUTS_5_4 LITESIGHT_OUT_5("r8")
#define LITESIGHT_OUTS_5_6 LITESIGHT_OUTS_5_5 LITESIGHT_OUT_5("r9")
#define LITESIGHT_OUTS_3_1 "add r10, r10, #64\n" LITESIGHT_OUT_3("r4")
#define LITESIGHT_OUTS_3_2 LITESIGHT_OUTS_3_1 LITESIGHT_OUT_3("r5")
#define LITESIGHT_OUTS_3_3 LITESIGHT_OUTS_3_2 LITESIGHT_OUT_3("r6")
#define LITESIGHT_OUTS_3_4 LITESIGHT_OUTS_3_3 LITESIGHT_OUT_3("r7")
#define LITESIGHT_OUTS_3_5 LITESIGHT_OUTS_3_4 LITESIGHT_OUT_3("r8")
#define LITESIGHT_OUTS_3_6 LITESIGHT_OUTS_3_5 LITESIGHT_OUT_3("r9")

#define LITESIGHT_STORE_1 "strb r4, [r11]\n"
#define LITESIGHT_STORE_2 LITESIGHT_STORE_1 "strb r5, [r11, r12]\n"
#define LITESIGHT_STORE_3 LITESIGHT_STORE_2 "strb r6, [r11, r12, lsl #1]\n"
#define LITESIGHT_STORE_4     \
  LITESIGHT_STORE_3           \
  "add r3, r11, r12\n"        \
  "add r3, r3, r12, lsl #1\n" \
  "strb r7, [r3]\n"
#define LITESIGHT_STORE_5 LITESIGHT_STORE_4 "strb r8, [r3, r12]\n"
#define LITESIGHT_STORE_6 LITESIGHT_STORE_5 "strb r9, [r3, r12, lsl #1]\n"

/* To the next six pixels of the channel; the bias goes to r2. */
#define LITESIGHT_NEXT_6        \
  "add r11, r3, r12\n"          \
  "add r11, r11, r12, lsl #1\n" \
  "str r11, " LITESIGHT_OUTPUT  \
  "\n"                          \
  "ldr r2, [r1, #-8]\n"

/* To the next channel if there is one. */
#define LITESIGHT_LOOP(label)       \
  "str r11, " LITESIGHT_OUTPUT      \
  "\n"                              \
  "ldr r3, " LITESIGHT_CHANNELS_END \
  "\n"                              \
  "cmp r1, r3\n"                    \
  "bne " label "b\n"
/* After a block that is the whole row, and after the last one of several. */
#define LITESIGHT_LOOP_BLOCK(label) "add r11, r11, #1\n" LITESIGHT_LOOP(label)
#define LITESIGHT_LOOP_ROW(label)   \
  "ldr r3, " LITESIGHT_NEXT_CHANNEL \
  "\n"                              \
  "add r11, r11, r3\n" LITESIGHT_LOOP(label)

/* The code of the blocks comes first, the function's beginning last. */
#define LITESIGHT_DEPTHWISE_BLOCKS(name) \
  ".syntax unified\n"                    \
  ".section .text." name                 \
  ", \"ax\", %progbits\n"                \
  ".p2align 2\n"

/* Where to enter the rows between the labels `first` and `second`, and so on, if some are outside. */
#define LITESIGHT_ENTRY(first, second, entry) \
  "adr r2, " first                            \
  "b\n"                                       \
  "adr r3, " second                           \
  "b\n"                                       \
  "sub r3, r3, r2\n"                          \
  "mla r2, r7, r3, r2\n"                      \
  "orr r2, r2, #1\n"                          \
  "str r2, " entry "\n"

/* The function itself; blocks begin at 1. */
#define LITESIGHT_DEPTHWISE_FUNCTION(name, entries) \
  ".p2align 1\n"                                    \
  ".global " name                                   \
  "\n"                                              \
  ".thumb_func\n"                                   \
  ".type " name ", %function\n" name                \
  ":\n"                                             \
  "push {r4-r11, lr}\n"                             \
  "sub sp, sp, #84\n"                               \
  "ldmia r0!, {r1-r9}\n"                            \
  "stmia sp, {r1-r9}\n"                             \
  "add r10, sp, #36\n"                              \
  "ldr r11, [r1, #-8]\n"                            \
  "ldmia r0, {r1-r9}\n"                             \
  "stmia r10, {r1-r9}\n" entries                    \
  "mov r2, r11\n"                                   \
  "mov lr, r8\n"                                    \
  "mov r0, r9\n"                                    \
  "b 1b\n"                                          \
  ".size " name ", . - " name "\n.text\n"
#define LITESIGHT_DEPTHWISE_RETURN \
  "add sp, sp, #84\n"              \
  "pop {r4-r11, pc}\n"

/* A loop whose only block is the whole row; `size` is the window's, `pixels` of the output. */
#define LITESIGHT_DEPTHWISE_NARROW(name, size, pixels, row)                                                            \
  __asm__(LITESIGHT_DEPTHWISE_BLOCKS(name) "1:\n" LITESIGHT_SUMS(                                                      \
      size, pixels, LITESIGHT_ENTRY_1) LITESIGHT_ROWS_##size("2", "3", row, LITESIGHT_NEXT_CHANNEL_##size)             \
              LITESIGHT_SCALE_LAST LITESIGHT_OUTS_##size##_##pixels LITESIGHT_STORE_##pixels LITESIGHT_LOOP_BLOCK("1") \
                  LITESIGHT_DEPTHWISE_RETURN LITESIGHT_DEPTHWISE_FUNCTION(                                             \
                      name, LITESIGHT_ENTRY("2", "3", LITESIGHT_ENTRY_1)))

/* The last block of six pixels. */
#define LITESIGHT_LAST(size, last)                                                             \
  LITESIGHT_SUMS(size, 6, LITESIGHT_ENTRY_3)                                                   \
  LITESIGHT_ROWS_##size("8", "9", last, LITESIGHT_NEXT_CHANNEL_##size)                         \
      LITESIGHT_SCALE_LAST LITESIGHT_OUTS_##size##_6 LITESIGHT_STORE_6 LITESIGHT_LOOP_ROW("1") \
          LITESIGHT_DEPTHWISE_RETURN

/* Blocks of six pixels: any number of them in the middle, and the last. */
#define LITESIGHT_DEPTHWISE_MIDDLE_AND_LAST(size, middle, last)                        \
  "ldr r3, " LITESIGHT_MIDDLE                                                          \
  "\n"                                                                                 \
  "cmp r3, #0\n"                                                                       \
  "beq 7f\n"                                                                           \
  "4:\n"                                                                               \
  "str r3, " LITESIGHT_MIDDLE_LEFT "\n" LITESIGHT_SUMS(size, 6, LITESIGHT_ENTRY_2)     \
      LITESIGHT_ROWS_##size("5", "6", middle, LITESIGHT_SAME_CHANNEL)                  \
          LITESIGHT_SCALE LITESIGHT_OUTS_##size##_6 LITESIGHT_STORE_6 LITESIGHT_NEXT_6 \
      "ldr r3, " LITESIGHT_MIDDLE_LEFT                                                 \
      "\n"                                                                             \
      "subs r3, r3, #1\n"                                                              \
      "bne 4b\n"                                                                       \
      "7:\n"                                                                           \
      "ldr r3, " LITESIGHT_BACK                                                        \
      "\n"                                                                             \
      "cmp r3, #0\n"                                                                   \
      "beq 0f\n" LITESIGHT_ROWS_BACK_##size "ldr r1, " LITESIGHT_OUTPUT                \
                                            "\n"                                       \
                                            "ldr r3, " LITESIGHT_BACK_OUTPUT           \
                                            "\n"                                       \
                                            "sub r1, r1, r3\n"                         \
                                            "str r1, " LITESIGHT_OUTPUT                \
                                            "\n"                                       \
                                            "0:\n" LITESIGHT_LAST(size, last)

/* A loop for wide rows whose first block differs from the middle ones. */
#define LITESIGHT_DEPTHWISE_WIDE(name, size, first, middle, last)                                                    \
  __asm__(LITESIGHT_DEPTHWISE_BLOCKS(name) "1:\n" LITESIGHT_SUMS(size, 6, LITESIGHT_ENTRY_1) LITESIGHT_ROWS_##size(  \
      "2", "3", first, LITESIGHT_SAME_CHANNEL) LITESIGHT_SCALE LITESIGHT_OUTS_##size##_6 LITESIGHT_STORE_6           \
              LITESIGHT_NEXT_6 LITESIGHT_DEPTHWISE_MIDDLE_AND_LAST(size, middle, last) LITESIGHT_DEPTHWISE_FUNCTION( \
                  name, LITESIGHT_ENTRY("2", "3", LITESIGHT_ENTRY_1) LITESIGHT_ENTRY("5", "6", LITESIGHT_ENTRY_2)    \
                            LITESIGHT_ENTRY("8", "9", LITESIGHT_ENTRY_3)))

/* The same without a middle one. */
#define LITESIGHT_DEPTHWISE_TWO(name, size, first, last)                                                              \
  __asm__(LITESIGHT_DEPTHWISE_BLOCKS(name) "1:\n" LITESIGHT_SUMS(size, 6, LITESIGHT_ENTRY_1) LITESIGHT_ROWS_##size(   \
      "2", "3", first, LITESIGHT_SAME_CHANNEL)                                                                        \
              LITESIGHT_SCALE LITESIGHT_OUTS_##size##_6 LITESIGHT_STORE_6 LITESIGHT_NEXT_6 LITESIGHT_LAST(size, last) \
                  LITESIGHT_DEPTHWISE_FUNCTION(name, LITESIGHT_ENTRY("2", "3", LITESIGHT_ENTRY_1)                     \
                                                         LITESIGHT_ENTRY("8", "9", LITESIGHT_ENTRY_3)))

/* Without a first block. */
#define LITESIGHT_DEPTHWISE_WIDE_FROM_MIDDLE(name, size, middle, last)                                    \
  __asm__(LITESIGHT_DEPTHWISE_BLOCKS(name) "1:\n" LITESIGHT_DEPTHWISE_MIDDLE_AND_LAST(size, middle, last) \
              LITESIGHT_DEPTHWISE_FUNCTION(                                                               \
                  name, LITESIGHT_ENTRY("5", "6", LITESIGHT_ENTRY_2) LITESIGHT_ENTRY("8", "9", LITESIGHT_ENTRY_3)))

/* clang-format on */

#endif
