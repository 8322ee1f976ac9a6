/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise windows of rows of more than eight outputs; see litesight_mve_windows.h. */
#ifndef LITESIGHT_MVE_LONG_ROWS_H
#define LITESIGHT_MVE_LONG_ROWS_H

#include "litesight_mve_windows.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * r1 are the columns, r3 the outputs, r5, r7 and r9 bias, multiplier and shift, r8 the channel's first output, r10 the
 * zero point, r11 the stream, r12 the distance of eight outputs. Sums come in r0, r2, r4 and r6, weights are in q4 and
 * q5.
 */
#define LITESIGHT_LONG_LOAD(value, step) "vldrb.8 " value ", [r1], #" step "\n\t"
#define LITESIGHT_LONG_LANES(lanes, high, low, a, b) "vmov " lanes "[" high "], " lanes "[" low "], " a ", " b "\n\t"

/* 3x3, stride 1: two outputs from each of inputs 0, 2, 1 and 3. */
#define LITESIGHT_LONG_3X3 \
  LITESIGHT_LONG_LOAD("q0", "16") "vmladav.s8 r0, q0, q4\n\t"                                       \
  LITESIGHT_LONG_LOAD("q1", "-8") "vmladav.s8 r4, q0, q5\n\t"                                       \
  LITESIGHT_LONG_LOAD("q0", "16") "vmladav.s8 r2, q1, q4\n\t"                                       \
  "vmladav.s8 r6, q1, q5\n\t" LITESIGHT_LONG_LANES("q2", "2", "0", "r0", "r2")                      \
  LITESIGHT_LONG_LOAD("q1", "8") "vmladav.s8 r0, q0, q4\n\t"                                        \
  LITESIGHT_LONG_LANES("q3", "2", "0", "r4", "r6")                                                  \
  "vmladav.s8 r4, q0, q5\n\t"                                                                       \
  "vmladav.s8 r2, q1, q4\n\t"                                                                       \
  "vmladav.s8 r6, q1, q5\n\t" LITESIGHT_LONG_LANES("q2", "3", "1", "r0", "r2")                      \
  LITESIGHT_LONG_LANES("q3", "3", "1", "r4", "r6")

/* Outputs 0 and 2 to the lower lanes of q2, 1 and 3 to those of q3. */
#define LITESIGHT_LONG_FOUR_LANES \
  "vmov.32 q2[0], r0\n\t"         \
  "vmov.32 q3[0], r4\n\t"         \
  "vmov.32 q2[1], r2\n\t"         \
  "vmov.32 q3[1], r6\n\t"
#define LITESIGHT_LONG_3X3_FOUR \
  LITESIGHT_LONG_LOAD("q0", "8") "vmladav.s8 r0, q0, q4\n\t"     \
  LITESIGHT_LONG_LOAD("q1", "8") "vmladav.s8 r4, q0, q5\n\t"     \
  "vmladav.s8 r2, q1, q4\n\t"                                    \
  "vmladav.s8 r6, q1, q5\n\t" LITESIGHT_LONG_FOUR_LANES

/* 3x3, stride 2: an output from each of inputs 0, 4, 1, 5, 2, 6, 3, 7. */
#define LITESIGHT_LONG_SHORT_PAIR(next) \
  LITESIGHT_LONG_LOAD("q0", "32")       \
  "vmladav.s8 r0, q0, q4\n\t" LITESIGHT_LONG_LOAD("q1", next) "vmladav.s8 r2, q1, q4\n\t"
#define LITESIGHT_LONG_3X3_2                       \
  LITESIGHT_LONG_SHORT_PAIR("-24")                 \
  LITESIGHT_LONG_LANES("q2", "2", "0", "r0", "r2") \
  LITESIGHT_LONG_SHORT_PAIR("-24")                 \
  LITESIGHT_LONG_LANES("q3", "2", "0", "r0", "r2") \
  LITESIGHT_LONG_SHORT_PAIR("-24")                 \
  LITESIGHT_LONG_LANES("q2", "3", "1", "r0", "r2") \
  LITESIGHT_LONG_SHORT_PAIR("8") LITESIGHT_LONG_LANES("q3", "3", "1", "r0", "r2")

#define LITESIGHT_LONG_3X3_2_FOUR                                                                             \
  LITESIGHT_LONG_LOAD("q0", "8")                                                                              \
  "vmladav.s8 r0, q0, q4\n\t" LITESIGHT_LONG_LOAD("q1", "8") "vmladav.s8 r4, q1, q4\n\t" LITESIGHT_LONG_LOAD( \
      "q0",                                                                                                   \
      "8") "vmladav.s8 r2, q0, q4\n\t" LITESIGHT_LONG_LOAD("q1",                                              \
                                                           "8") "vmladav.s8 r6, q1, q4\n\t" LITESIGHT_LONG_FOUR_LANES

/* 5x5: the same, of 25 bytes. */
#define LITESIGHT_LONG_PAIR(up, next)                                                                         \
  LITESIGHT_LONG_LOAD("q0", "16")                                                                             \
  "vmladav.s8 r0, q0, q4\n\t" LITESIGHT_LONG_LOAD("q1", up) "vmladava.s8 r0, q1, q5\n\t" LITESIGHT_LONG_LOAD( \
      "q0", "16") "vmladav.s8 r2, q0, q4\n\t" LITESIGHT_LONG_LOAD("q1", next) "vmladava.s8 r2, q1, q5\n\t"
#define LITESIGHT_LONG_FIVE(up, down, next)        \
  LITESIGHT_LONG_PAIR(up, down)                    \
  LITESIGHT_LONG_LANES("q2", "2", "0", "r0", "r2") \
  LITESIGHT_LONG_PAIR(up, down)                    \
  LITESIGHT_LONG_LANES("q3", "2", "0", "r0", "r2") \
  LITESIGHT_LONG_PAIR(up, down)                    \
  LITESIGHT_LONG_LANES("q2", "3", "1", "r0", "r2") \
  LITESIGHT_LONG_PAIR(up, next) LITESIGHT_LONG_LANES("q3", "3", "1", "r0", "r2")
#define LITESIGHT_LONG_5X5 LITESIGHT_LONG_FIVE("4", "-31", "-11")
#define LITESIGHT_LONG_5X5_2 LITESIGHT_LONG_FIVE("24", "-46", "-6")

#define LITESIGHT_LONG_ONE(sum, next) \
  LITESIGHT_LONG_LOAD("q0", "16")     \
  "vmladav.s8 " sum ", q0, q4\n\t" LITESIGHT_LONG_LOAD("q1", next) "vmladava.s8 " sum ", q1, q5\n\t"
#define LITESIGHT_LONG_5X5_FOUR   \
  LITESIGHT_LONG_ONE("r0", "-11") \
  LITESIGHT_LONG_ONE("r4", "-11") \
  LITESIGHT_LONG_ONE("r2", "-11") LITESIGHT_LONG_ONE("r6", "-11") LITESIGHT_LONG_FOUR_LANES
#define LITESIGHT_LONG_5X5_2_FOUR \
  LITESIGHT_LONG_ONE("r0", "-6")  \
  LITESIGHT_LONG_ONE("r4", "-6") LITESIGHT_LONG_ONE("r2", "-6") LITESIGHT_LONG_ONE("r6", "-6") LITESIGHT_LONG_FOUR_LANES

/* Of the weights, q6 leaves the lanes of a window; q5 has them a column later. */
#define LITESIGHT_LONG_WEIGHTS_3X3_2 \
  "vldrb.8 q4, [r11, #8]\n\t"        \
  "add r11, r11, #20\n\t"            \
  "vand q4, q4, q6\n\t"
#define LITESIGHT_LONG_WEIGHTS_3X3 \
  LITESIGHT_LONG_WEIGHTS_3X3_2     \
  "movs r0, #0\n\t"                \
  "vmov q5, q4\n\t"                \
  "vshlc q5, r0, #32\n\t"
#define LITESIGHT_LONG_WEIGHTS_5X5 \
  "vldrb.8 q5, [r11, #24]\n\t"     \
  "vldrb.8 q4, [r11, #8]\n\t"      \
  "vand q5, q5, q6\n\t"            \
  "add r11, r11, #33\n\t"

#define LITESIGHT_LONG_MASK_3X3 \
  "mvn r0, #0\n\t"              \
  "movs r2, #0\n\t"             \
  "vdup.32 q6, r0\n\t"          \
  "vmov.32 q6[3], r2\n"
#define LITESIGHT_LONG_MASK_5X5 \
  "mvn r0, #0\n\t"              \
  "movs r2, #0\n\t"             \
  "vdup.32 q6, r0\n\t"          \
  "movs r0, #255\n\t"           \
  "vmov.32 q6[3], r2\n\t"       \
  "vmov.32 q6[2], r0\n"

/* See litesight_mve_rescale(); no shift is 0. */
#define LITESIGHT_LONG_LINEAR \
  "vshr.u32 q0, q2, #31\n\t"  \
  "vshr.u32 q1, q3, #31\n\t"  \
  "vsub.i32 q2, q2, q0\n\t"   \
  "vsub.i32 q3, q3, q1\n\t"

#define LITESIGHT_LONG_OUTPUTS(linear) \
  "vadd.i32 q2, q2, r5\n\t"            \
  "vadd.i32 q3, q3, r5\n\t"            \
  "vqrdmulh.s32 q2, q2, r7\n\t"        \
  "vqrdmulh.s32 q3, q3, r7\n\t" linear \
  "vrshl.s32 q2, r9\n\t"               \
  "vrshl.s32 q3, r9\n\t"               \
  "vqmovnb.s32 q2, q2\n\t"             \
  "vqmovnt.s32 q2, q3\n\t"             \
  "vqadd.s16 q2, q2, r10\n\t"          \
  "vqmovnb.s16 q2, q2\n\t"

#define LITESIGHT_LONG_FUNCTION(name, mask, weights, eight, four, linear)                         \
  LITESIGHT_ASSEMBLY static void name(const litesight_mve_group *LITESIGHT_IN_R0(group)) {        \
    __asm__ volatile(                                                                           \
        "push {r4-r11, lr}\n\t"                                                                 \
        "vpush {d8-d15}\n\t"                                                                    \
        "ldm r0!, {r1-r6, r8, r10-r12}\n\t"                                                     \
        "vldrb.8 q7, [r0]\n\t"                                                                  \
        "vmsr p0, r6\n\t"                                                                       \
        "push {r2-r5}\n\t" mask                                                                 \
        "1:\n\t"                                                                                \
        "ldr r9, [r11]\n\t"                                                                     \
        "ldr r7, [r11, #4]\n\t"                                                                 \
        "ldr lr, [sp]\n\t" weights                                                              \
        "asr r5, r9, #8\n\t"                                                                    \
        "mov r3, r8\n\t"                                                                        \
        "dls lr, lr\n"                                                                          \
        "2:\n\t" eight LITESIGHT_LONG_OUTPUTS(linear)                                           \
        "vstrb.16 q2, [r3, q7]\n\t"                                                             \
        "add r3, r3, r12\n\t"                                                                   \
        "le lr, 2b\n\t"                                                                         \
        "ldr r0, [sp, #4]\n\t"                                                                  \
        "cmp r0, #4\n\t"                                                                        \
        "bhi 4f\n\t"                                                                            \
        "cmp r0, #0\n\t"                                                                        \
        "beq 3f\n\t" four                                                                       \
        "b 5f\n"                                                                                \
        "4:\n\t" eight                                                                          \
        "5:\n\t" LITESIGHT_LONG_OUTPUTS(linear)                                                 \
        "vpst\n\t"                                                                              \
        "vstrbt.16 q2, [r3, q7]\n"                                                              \
        "3:\n\t"                                                                                \
        "ldrd r2, r3, [sp, #8]\n\t"                                                             \
        "adds r8, r8, #1\n\t"                                                                   \
        "add r1, r1, r3\n\t"                                                                    \
        "subs r2, r2, #1\n\t"                                                                   \
        "str r2, [sp, #8]\n\t"                                                                  \
        "bne 1b\n\t"                                                                            \
        "add sp, sp, #16\n\t"                                                                   \
        "vpop {d8-d15}\n\t"                                                                     \
        "pop {r4-r11, pc}\n" ::                                                                 \
            : "memory"); \
  }

#ifdef __cplusplus
}
#endif

#endif
