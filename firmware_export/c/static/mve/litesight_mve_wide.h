/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution once the inputs of a pixel lie one after the other, at least 16 of them. Four output channels and three
 * pixels at a time; a vector holds the four channels of a pixel.
 */
#ifndef LITESIGHT_MVE_WIDE_H
#define LITESIGHT_MVE_WIDE_H

#include <stddef.h>

#include "litesight_mve.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What the assembly below is given. The stream has of every four channels four words with biases and shifts, see
 * litesight_mve_streamed(), four multipliers, and the weights of channels 0, 2, 1 and 3.
 */
typedef struct litesight_mve_tiles {
  const int8_t *input;    /* 0: of the first pixel */
  const int8_t *end;      /* 4: of the pixel after the last */
  uint32_t second_pixel;  /* 8: distance in bytes from the first pixel of a tile */
  uint32_t third_pixel;   /* 12 */
  uint32_t depth;         /* 16: bytes of a channel's weights, at least 16 */
  uint32_t rounded_depth; /* 20: how far the assembly walks, a multiple of 16 */
  const int8_t *stream;   /* 24 */
  uint32_t fours;         /* 28: how many times four channels */
  int8_t *output;         /* 32: of the first pixel */
  uint32_t third_output;  /* 36: distance of the third pixel's outputs from the first's */
  uint32_t next_output;   /* 40: of the next tile's */
  uint32_t next_channels; /* 44: of the next four channels' */
  int32_t zero_point;     /* 48 */
  uint32_t offsets[4];    /* 52: of four channels' outputs */
  uint16_t pairs[8];      /* 68: of two pixels', in turn */
  int8_t *target;         /* 84: for the assembly: the tile's outputs */
  int32_t weights_back;   /* 88: depth - rounded depth */
  int32_t input_back;     /* 92: distance between pixels - rounded depth */
} litesight_mve_tiles;

_Static_assert(offsetof(litesight_mve_tiles, input_back) == 92, "the assembly knows the offsets");

#define LITESIGHT_TILE_CHUNK(operation) \
  "vldrb.8 q0, [r7], #16\n\t"           \
  "vldrb.8 q2, [r1], #16\n\t" operation \
  " r0, q0, q2\n\t"                     \
  "vldrb.8 q1, [r9], #16\n\t" operation \
  " r2, q1, q2\n\t"                     \
  "vldrb.8 q2, [r3], #16\n\t" operation \
  " r4, q0, q2\n\t"                     \
  "vldrb.8 q3, [r5], #16\n\t" operation " r6, q1, q2\n\t" operation " r8, q0, q3\n\t" operation " r10, q1, q3\n\t"

/*
 * Two channels of three pixels: five loads for six products, where one channel of four pixels needs five for four. The
 * loop is tail-predicated: nothing is read beyond the depth.
 */
#define LITESIGHT_TILE(label)                                                                                      \
  "add r9, r7, r12\n\t"                                                                                            \
  "sub lr, r12, #16\n\t" LITESIGHT_TILE_CHUNK("vmladav.s8") "dlstp.8 lr, lr\n" label ":\n\t" LITESIGHT_TILE_CHUNK( \
      "vmladava.s8") "letp lr, " label "b\n\t"

#define LITESIGHT_TILE_RESCALE(rectify) \
  "vadd.i32 q4, q4, q2\n\t"             \
  "vadd.i32 q5, q5, q2\n\t"             \
  "vadd.i32 q6, q6, q2\n\t"             \
  "vqrdmulh.s32 q4, q4, q1\n\t"         \
  "vqrdmulh.s32 q5, q5, q1\n\t"         \
  "vqrdmulh.s32 q6, q6, q1\n\t" rectify \
  "vrshl.s32 q4, q4, q0\n\t"            \
  "vrshl.s32 q5, q5, q0\n\t"            \
  "vrshl.s32 q6, q6, q0\n\t"

/* See litesight_mve_rescale(); no shift is 0. */
#define LITESIGHT_TILE_LINEAR \
  "vshr.u32 q3, q4, #31\n\t"  \
  "vsub.i32 q4, q4, q3\n\t"   \
  "vshr.u32 q3, q5, #31\n\t"  \
  "vsub.i32 q5, q5, q3\n\t"   \
  "vshr.u32 q3, q6, #31\n\t"  \
  "vsub.i32 q6, q6, q3\n\t"

#define LITESIGHT_TILES(rectify) \
  __asm__ volatile(                                                                                                  \
      "push {r4-r11, lr}\n\t"                                                                                        \
      "vpush {d8-d15}\n\t"                                                                                           \
      "mov r11, r0\n\t"                                                                                              \
      "ldr r12, [r11, #16]\n\t"                                                                                      \
      "add r0, r11, #68\n\t"                                                                                         \
      "vldrb.8 q7, [r0]\n"                                                                                           \
      "1:\n\t"                                                                                                       \
      "ldrd r7, r2, [r11, #28]\n\t"                                                                                  \
      "ldr r1, [r11]\n\t"                                                                                            \
      "str r2, [r11, #84]\n"                                                                                         \
      "2:\n\t"                                                                                                       \
      "ldrd r3, r5, [r11, #8]\n\t"                                                                                   \
      "ldr r7, [r11, #24]\n\t"                                                                                       \
      "add r3, r3, r1\n\t"                                                                                           \
      "add r5, r5, r1\n\t"                                                                                           \
      "adds r7, r7, #32\n\t" LITESIGHT_TILE("3") /* Channels 0 and 2. */                                             \
      "vmov q4[2], q4[0], r0, r2\n\t"                                                                                \
      "ldr r0, [r11, #20]\n\t"                                                                                       \
      "vmov q5[2], q5[0], r4, r6\n\t"                                                                                \
      "vmov q6[2], q6[0], r8, r10\n\t"                                                                               \
      "ldr r7, [r11, #88]\n\t"                                                                                       \
      "subs r1, r1, r0\n\t"                                                                                          \
      "subs r3, r3, r0\n\t"                                                                                          \
      "subs r5, r5, r0\n\t"                                                                                          \
      "add r7, r7, r9\n\t" LITESIGHT_TILE("4")  /* Channels 1 and 3. */                                              \
      "vmov q4[3], q4[1], r0, r2\n\t"                                                                                \
      "ldr r2, [r11, #24]\n\t"                                                                                       \
      "vmov q5[3], q5[1], r4, r6\n\t"                                                                                \
      "vldrb.8 q0, [r2]\n\t"                                                                                         \
      "vmov q6[3], q6[1], r8, r10\n\t"                                                                               \
      "vshr.s32 q2, q0, #8\n\t"                                                                                      \
      "vldrb.8 q1, [r2, #16]\n\t" LITESIGHT_TILE_RESCALE(rectify)                                                    \
      "ldrd r6, r8, [r11, #36]\n\t"                                                                                  \
      "ldr r0, [r11, #48]\n\t"                                                                                       \
      "vqmovnb.s32 q4, q4\n\t"                                                                                       \
      "ldr r4, [r11, #84]\n\t"                                                                                       \
      "vqmovnb.s32 q6, q6\n\t"                                                                                       \
      "ldr r1, [r11, #92]\n\t"                                                                                       \
      "vqmovnt.s32 q4, q5\n\t"                                                                                       \
      "vldrw.32 q0, [r11, #52]\n\t"                                                                                  \
      "vqadd.s16 q6, q6, r0\n\t"                                                                                     \
      "add r6, r6, r4\n\t"                                                                                           \
      "vqadd.s16 q4, q4, r0\n\t"                                                                                     \
      "vqmovnb.s16 q6, q6\n\t"                                                                                       \
      "add r1, r1, r5\n\t"                                                                                           \
      "vqmovnb.s16 q4, q4\n\t"                                                                                       \
      "add r8, r8, r4\n\t"                                                                                           \
      "vstrb.32 q6, [r6, q0]\n\t"                                                                                    \
      "ldr r2, [r11, #4]\n\t"                                                                                        \
      "vstrb.16 q4, [r4, q7]\n\t"                                                                                    \
      "str r8, [r11, #84]\n\t"                                                                                       \
      "cmp r1, r2\n\t"                                                                                               \
      "blo 2b\n\t"                                                                                                   \
      "ldr r2, [r11, #88]\n\t"                                                                                       \
      "ldrd r3, r4, [r11, #28]\n\t"                                                                                  \
      "ldr r5, [r11, #44]\n\t"                                                                                       \
      "add r9, r9, r2\n\t"                                                                                           \
      "add r4, r4, r5\n\t"                                                                                           \
      "str r9, [r11, #24]\n\t"                                                                                       \
      "subs r3, r3, #1\n\t"                                                                                          \
      "strd r3, r4, [r11, #28]\n\t"                                                                                  \
      "bne 1b\n\t"                                                                                                   \
      "vpop {d8-d15}\n\t"                                                                                            \
      "pop {r4-r11, pc}\n" ::                                                                                        \
          : "memory")

LITESIGHT_ASSEMBLY static void litesight_mve_run_tiles_rectified(litesight_mve_tiles *LITESIGHT_IN_R0(tiles)) {
  LITESIGHT_TILES("");
}

LITESIGHT_ASSEMBLY static void litesight_mve_run_tiles_linear(litesight_mve_tiles *LITESIGHT_IN_R0(tiles)) {
  LITESIGHT_TILES(LITESIGHT_TILE_LINEAR);
}

/* Inputs of pixels lie `pitch` bytes apart, at least 16 of them can be read; `depth` is 16 at least. */
typedef struct litesight_mve_pixels {
  const int8_t *input;
  uint32_t pitch;
  uint32_t depth;
  uint32_t width;
  int8_t *output;
} litesight_mve_pixels;

/* `together` are three pixels, or one or two that are left: then what is missing is the last one again. */
LITESIGHT_SHARED void litesight_mve_wide_tiles(const litesight_layer *layer, litesight_mve_pixels pixels,
                                               uint32_t together) {
  const bool is_planar = layer->output->is_planar != 0;
  const uint32_t count = layer->output->channels;
  const uint32_t pixel_distance = is_planar ? 1u : count;
  const uint32_t channel_distance = is_planar ? layer->output->width : 1u;
  const uint32_t second = together > 1u ? 1u : 0u;
  const uint32_t third = together > 2u ? 2u : second;
  /* The loop over all but the first 16 bytes runs at least once. */
  const uint32_t rounded_depth = pixels.depth == 16u ? 32u : (pixels.depth + 15u) & ~15u;
  litesight_mve_tiles tiles = {.input = pixels.input,
                               .end = pixels.input + pixels.pitch * pixels.width,
                               .second_pixel = second * pixels.pitch,
                               .third_pixel = third * pixels.pitch,
                               .depth = pixels.depth,
                               .rounded_depth = rounded_depth,
                               .stream = ((const litesight_conv *)layer->parameters)->weights,
                               .fours = count >> 2,
                               .output = pixels.output,
                               .third_output = third * pixel_distance,
                               .next_output = 3u * pixel_distance,
                               .next_channels = 4u * channel_distance,
                               .zero_point = layer->output->zero_point,
                               .weights_back = (int32_t)(pixels.depth - rounded_depth),
                               .input_back = (int32_t)(pixels.pitch - rounded_depth)};
  const uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), channel_distance);
  vst1q_u32(tiles.offsets, offsets);
  /* Odd lanes are the second pixel's. */
  vst1q_u32((uint32_t *)(void *)tiles.pairs,
            vorrq_u32(offsets, vshlq_n_u32(vaddq_n_u32(offsets, second * pixel_distance), 16)));
  const bool is_rectified = litesight_mve_is_rectified(layer);
  for (uint32_t left = count; left > 0; left &= 3u) {
    if (left < 4u) {
      /* The last four channels, of which some are computed again. */
      tiles.fours = 1;
      tiles.output = pixels.output + (count - 4u) * channel_distance;
      left = 4;
    }
    if (is_rectified) {
      litesight_mve_run_tiles_rectified(&tiles);
    } else {
      litesight_mve_run_tiles_linear(&tiles);
    }
  }
}

LITESIGHT_SHARED void litesight_mve_wide_run(const litesight_layer *layer, litesight_mve_pixels pixels) {
  const uint32_t pixel_distance = layer->output->is_planar ? 1u : layer->output->channels;
  const uint32_t left = pixels.width % 3u;
  pixels.width -= left;
  if (pixels.width != 0) {
    litesight_mve_wide_tiles(layer, pixels, 3);
  }
  if (left != 0) {
    pixels.input += pixels.width * pixels.pitch;
    pixels.output += pixels.width * pixel_distance;
    pixels.width = left;
    litesight_mve_wide_tiles(layer, pixels, left);
  }
}

#ifdef __cplusplus
}
#endif

#endif
