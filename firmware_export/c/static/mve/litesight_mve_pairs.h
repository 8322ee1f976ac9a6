/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution once the inputs of a pixel lie one after the other, 8, 16, 24 or 32 of them. Two output channels run
 * along the row together, and their weights stay in registers; a vector holds one channel's pixels, three or four.
 */
#ifndef LITESIGHT_MVE_PAIRS_H
#define LITESIGHT_MVE_PAIRS_H

#include <stddef.h>

#include "litesight_mve.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What the assembly below is given, in the order of its registers and its stack. The stream has of every two channels
 * their scales, see litesight_mve_streamed(), and their weights.
 */
typedef struct litesight_mve_pairs {
  uint32_t predicate; /* of the lanes of `offsets` */
  const int8_t *input;
  const int8_t *stream;
  int8_t *output;      /* of the first pixel and channel */
  uint32_t blocks;     /* of three or four pixels */
  uint32_t pairs;      /* of channels */
  uint32_t next_block; /* distance of outputs */
  uint32_t next_pair;  /* distance of outputs */
  int32_t zero_point;  /* of the output */
  uint16_t offsets[8]; /* of outputs, the two channels in turn */
} litesight_mve_pairs;

_Static_assert(offsetof(litesight_mve_pairs, offsets) == 36, "the assembly knows the offsets");

/* Inputs in q0, weights in q2 to q5, sums of the first channel in q6 and of the second in q7. */
#define LITESIGHT_PAIRS_LANES_02  \
  "vmov q6[2], q6[0], r0, r4\n\t" \
  "vmov q7[2], q7[0], r2, r6\n\t"
#define LITESIGHT_PAIRS_LANES_13  \
  "vmov q6[3], q6[1], r0, r4\n\t" \
  "vmov q7[3], q7[1], r2, r6\n\t"
#define LITESIGHT_PAIRS_LANE_1 \
  "vmov.32 q6[1], r0\n\t"      \
  "vmov.32 q7[1], r2\n\t"

/* Both channels' sums of one pixel of 16 bytes, of up to 32; `next` leads to the next pixel. */
#define LITESIGHT_PAIRS_16(first, second, next) \
  "vldrb.8 q0, [r1], #" next                    \
  "\n\t"                                        \
  "vmladav.s8 " first                           \
  ", q0, q2\n\t"                                \
  "vmladav.s8 " second ", q0, q4\n\t"
#define LITESIGHT_PAIRS_32(first, second, next) \
  "vldrb.8 q0, [r1], #16\n\t"                   \
  "vmladav.s8 " first                           \
  ", q0, q2\n\t"                                \
  "vmladav.s8 " second                          \
  ", q0, q4\n\t"                                \
  "vldrb.8 q0, [r1], #" next                    \
  "\n\t"                                        \
  "vmladava.s8 " first                          \
  ", q0, q3\n\t"                                \
  "vmladava.s8 " second ", q0, q5\n\t"

/* Pixels of eight bytes, two in a register: weights in the lower half of q2 and q4, in the upper half of q3 and q5. */
#define LITESIGHT_PAIRS_FOUR_8                         \
  "vldrb.8 q0, [r1], #16\n\t"                          \
  "vmladav.s8 r0, q0, q2\n\t"                          \
  "vmladav.s8 r2, q0, q4\n\t"                          \
  "vmladav.s8 r4, q0, q3\n\t"                          \
  "vmladav.s8 r6, q0, q5\n\t" LITESIGHT_PAIRS_LANES_02 \
  "vldrb.8 q0, [r1], #16\n\t"                          \
  "vmladav.s8 r0, q0, q2\n\t"                          \
  "vmladav.s8 r2, q0, q4\n\t"                          \
  "vmladav.s8 r4, q0, q3\n\t"                          \
  "vmladav.s8 r6, q0, q5\n\t" LITESIGHT_PAIRS_LANES_13
/* Four pixels, three pixels of a kind: lanes 0, 2, 1 and 3 in this order. */
#define LITESIGHT_PAIRS_FOUR(pixel, next)                                                          \
  pixel("r0", "r2", next) pixel("r4", "r6", next) LITESIGHT_PAIRS_LANES_02 pixel("r0", "r2", next) \
      pixel("r4", "r6", next) LITESIGHT_PAIRS_LANES_13
#define LITESIGHT_PAIRS_THREE(pixel, next)                                                         \
  pixel("r0", "r2", next) pixel("r4", "r6", next) LITESIGHT_PAIRS_LANES_02 pixel("r0", "r2", next) \
      LITESIGHT_PAIRS_LANE_1
#define LITESIGHT_PAIRS_FOUR_16 LITESIGHT_PAIRS_FOUR(LITESIGHT_PAIRS_16, "16")
#define LITESIGHT_PAIRS_FOUR_24 LITESIGHT_PAIRS_FOUR(LITESIGHT_PAIRS_32, "8")
#define LITESIGHT_PAIRS_FOUR_32 LITESIGHT_PAIRS_FOUR(LITESIGHT_PAIRS_32, "16")
/* 32 bytes, 34 apart. */
#define LITESIGHT_PAIRS_FOUR_34 LITESIGHT_PAIRS_FOUR(LITESIGHT_PAIRS_32, "18")
#define LITESIGHT_PAIRS_THREE_16 LITESIGHT_PAIRS_THREE(LITESIGHT_PAIRS_16, "16")
#define LITESIGHT_PAIRS_THREE_24 LITESIGHT_PAIRS_THREE(LITESIGHT_PAIRS_32, "8")
#define LITESIGHT_PAIRS_THREE_32 LITESIGHT_PAIRS_THREE(LITESIGHT_PAIRS_32, "16")

/* r9 is the stream. Halves that are not loaded are zero from the beginning. */
#define LITESIGHT_PAIRS_LOAD_8 \
  "vldr d4, [r9, #16]\n\t"     \
  "vldr d7, [r9, #16]\n\t"     \
  "vldr d8, [r9, #24]\n\t"     \
  "vldr d11, [r9, #24]\n\t"
#define LITESIGHT_PAIRS_LOAD_16 \
  "vldrw.32 q2, [r9, #16]\n\t"  \
  "vldrw.32 q4, [r9, #32]\n\t"
#define LITESIGHT_PAIRS_LOAD_24 \
  "vldrw.32 q2, [r9, #16]\n\t"  \
  "vldr d6, [r9, #32]\n\t"      \
  "vldrw.32 q4, [r9, #40]\n\t"  \
  "vldr d10, [r9, #56]\n\t"
#define LITESIGHT_PAIRS_LOAD_32 \
  "vldrw.32 q2, [r9, #16]\n\t"  \
  "vldrw.32 q3, [r9, #32]\n\t"  \
  "vldrw.32 q4, [r9, #48]\n\t"  \
  "vldrw.32 q5, [r9, #64]\n\t"

/* See litesight_mve_rescale(); no shift is 0. */
#define LITESIGHT_PAIRS_LINEAR \
  "vshr.u32 q0, q6, #31\n\t"   \
  "vsub.i32 q6, q6, q0\n\t"    \
  "vshr.u32 q0, q7, #31\n\t"   \
  "vsub.i32 q7, q7, q0\n\t"
#define LITESIGHT_PAIRS_RECTIFIED ""

/* To the next block of outputs: of a planar map, of any. */
#define LITESIGHT_PAIRS_NEXT_FOUR "adds r3, r3, #4\n\t"
#define LITESIGHT_PAIRS_NEXT_THREE "adds r3, r3, #3\n\t"
#define LITESIGHT_PAIRS_NEXT \
  "ldr r0, [sp, #20]\n\t"    \
  "add r3, r3, r0\n\t"

/* All lanes, or those that the predicate has. */
#define LITESIGHT_PAIRS_STORE_FOUR "vstrb.16"
#define LITESIGHT_PAIRS_STORE_THREE "vpst\n\tvstrbt.16"

/*
 * In the inner loop r1 is the input, r3 the output, r5, r7 and r9 the first channel's bias, multiplier and shift, r10,
 * r8 and r11 the second's, r12 the zero point. r0, r2, r4 and r6 receive the sums, q1 has the offsets. On the stack are
 * the structure's fields from `input` to `next_pair`.
 */
#define LITESIGHT_PAIRS_FUNCTION(name, load, bytes, block, linear, store, next)            \
  LITESIGHT_ASSEMBLY static void name(const litesight_mve_pairs *LITESIGHT_IN_R0(pairs)) { \
    __asm__ volatile(                                                                      \
        "push {r4-r11, lr}\n\t"                                                            \
        "vpush {d8-d15}\n\t"                                                               \
        "ldm r0!, {r1-r8, r12}\n\t"                                                        \
        "vmsr p0, r1\n\t"                                                                  \
        "vmov.i32 q3, #0\n\t"                                                              \
        "vmov.i32 q2, #0\n\t"                                                              \
        "vldrw.32 q1, [r0]\n\t"                                                            \
        "vmov.i32 q5, #0\n\t"                                                              \
        "vmov.i32 q4, #0\n\t"                                                              \
        "push {r2-r8}\n"                                                                   \
        "1:\n\t"                                                                           \
        "ldrd r9, r3, [sp, #4]\n\t"                                                        \
        "ldr r1, [sp]\n\t"                                                                 \
        "ldr lr, [sp, #12]\n\t"                                                            \
        "add r0, r9, #" bytes "\n\t" load                                                  \
        "ldrd r11, r8, [r9, #8]\n\t"                                                       \
        "ldrd r9, r7, [r9]\n\t"                                                            \
        "str r0, [sp, #4]\n\t"                                                             \
        "asr r10, r11, #8\n\t"                                                             \
        "asr r5, r9, #8\n\t"                                                               \
        "dls lr, lr\n"                                                                     \
        "2:\n\t" block                                                                     \
        "vadd.i32 q6, q6, r5\n\t"                                                          \
        "vadd.i32 q7, q7, r10\n\t"                                                         \
        "vqrdmulh.s32 q6, q6, r7\n\t"                                                      \
        "vqrdmulh.s32 q7, q7, r8\n\t" linear                                               \
        "vrshl.s32 q6, r9\n\t"                                                             \
        "vrshl.s32 q7, r11\n\t"                                                            \
        "vqmovnb.s32 q6, q6\n\t"                                                           \
        "vqmovnt.s32 q6, q7\n\t"                                                           \
        "vqadd.s16 q6, q6, r12\n\t"                                                        \
        "vqmovnb.s16 q6, q6\n\t" store " q6, [r3, q1]\n\t" next                            \
        "le lr, 2b\n\t"                                                                    \
        "ldr r3, [sp, #8]\n\t"                                                             \
        "ldr r7, [sp, #24]\n\t"                                                            \
        "ldr r5, [sp, #16]\n\t"                                                            \
        "add r3, r3, r7\n\t"                                                               \
        "str r3, [sp, #8]\n\t"                                                             \
        "subs r5, r5, #1\n\t"                                                              \
        "str r5, [sp, #16]\n\t"                                                            \
        "bne 1b\n\t"                                                                       \
        "add sp, sp, #28\n\t"                                                              \
        "vpop {d8-d15}\n\t"                                                                \
        "pop {r4-r11, pc}\n" ::                                                            \
            : "memory");                                                                   \
  }

typedef void (*litesight_mve_pairs_kernel)(const litesight_mve_pairs *pairs);

/* `together` are the three or four pixels that the kernel computes at a time; `width` is a multiple of it. */
LITESIGHT_SHARED void litesight_mve_pairs_run(const litesight_layer *layer, const int8_t *input, uint32_t width,
                                              int8_t *output, uint32_t together, litesight_mve_pairs_kernel kernel) {
  const bool is_planar = layer->output->is_planar != 0;
  const uint32_t count = layer->output->channels;
  const uint32_t pixel_distance = is_planar ? 1u : count;
  const uint32_t channel_distance = is_planar ? layer->output->width : 1u;
  litesight_mve_pairs pairs = {.predicate = vctp32q(together),
                               .input = input,
                               .stream = ((const litesight_conv *)layer->parameters)->weights,
                               .output = output,
                               .blocks = width / together,
                               .pairs = count / 2u,
                               .next_block = together * pixel_distance,
                               .next_pair = 2u * channel_distance,
                               .zero_point = layer->output->zero_point};
  /* Pixels are computed in the order of lanes 0, 2, 1 and 3. Odd halves of the lanes are the second channel's. */
  const uint32x4_t pixels = vmulq_n_u32(vbrsrq_n_u32(vidupq_n_u32(0, 1), 2), pixel_distance);
  const uint32x4_t second = vaddq_n_u32(pixels, channel_distance);
  vst1q_u32((uint32_t *)(void *)pairs.offsets, vorrq_u32(pixels, vshlq_n_u32(second, 16)));
  kernel(&pairs);
}

#ifdef __cplusplus
}
#endif

#endif
