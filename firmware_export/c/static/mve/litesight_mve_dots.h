/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dot products of eight or of four neighbouring outputs of one channel, whose weights stay in registers. Their inputs
 * lie at a distance known to the compiler, of at most 32 bytes. Every function moves `input` on to the next outputs.
 *
 * In assembly because VMLADAV writes even core registers only, which the compiler answers with moves and spills. Loads
 * and products alternate as far as they can, for the core overlaps them.
 */
#ifndef LITESIGHT_MVE_DOTS_H
#define LITESIGHT_MVE_DOTS_H

#include "litesight_mve.h"

#ifndef __OPTIMIZE__
#error "the MVE kernels have distances in their instructions that are constants only with optimisation, such as -O1"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Sums of outputs 0, 2, 4 and 6 in `even`, of the others in `odd`. */
typedef struct litesight_mve_eight {
  int32x4_t even;
  int32x4_t odd;
} litesight_mve_eight;

/* Post-indexed: `step` is what is added to the address afterwards. */
#define LITESIGHT_LOAD(value, step) "vldrb.8 %q[" value "], [%[input]], #%c[" step "]\n\t"
#define LITESIGHT_DOT(sum, value, weights) "vmladav.s8 %[" sum "], %q[" value "], %q[" weights "]\n\t"
#define LITESIGHT_DOT_ADD(sum, value, weights) "vmladava.s8 %[" sum "], %q[" value "], %q[" weights "]\n\t"
/* Lanes 0 and 2, lanes 1 and 3. */
#define LITESIGHT_LANES_02(lanes, a, b) "vmov %q[" lanes "][2], %q[" lanes "][0], %[" a "], %[" b "]\n\t"
#define LITESIGHT_LANES_13(lanes, a, b) "vmov %q[" lanes "][3], %q[" lanes "][1], %[" a "], %[" b "]\n\t"

/* Two outputs from the same 16 bytes, by two sets of weights. Inputs 0, 2, 1, 3. */
LITESIGHT_INLINE litesight_mve_eight litesight_eight_double(const int8_t **input, int32_t distance, int8x16_t first,
                                                            int8x16_t second) {
  litesight_mve_eight sums;
  const int8_t *next = *input;
  int8x16_t x, y;
  int32_t a, b, c, d;
  __asm__(
      LITESIGHT_LOAD("x", "up") LITESIGHT_DOT("a", "x", "first")    /* output 0 */
      LITESIGHT_LOAD("y", "down") LITESIGHT_DOT("c", "x", "second") /* output 1 */
      LITESIGHT_LOAD("x", "up") LITESIGHT_DOT("b", "y", "first")    /* output 4 */
      LITESIGHT_DOT("d", "y", "second") LITESIGHT_LANES_02("even", "a", "b") LITESIGHT_LOAD("y", "next")
          LITESIGHT_DOT("a", "x", "first") LITESIGHT_LANES_02("odd", "c", "d") LITESIGHT_DOT("c", "x", "second")
              LITESIGHT_DOT("b", "y", "first") LITESIGHT_DOT("d", "y", "second") LITESIGHT_LANES_13("even", "a", "b")
                  LITESIGHT_LANES_13("odd", "c", "d")
      : [input] "+r"(next), [x] "=&w"(x), [y] "=&w"(y), [even] "=&w"(sums.even), [odd] "=&w"(sums.odd), [a] "=&Te"(a),
        [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d)
      : [first] "w"(first), [second] "w"(second), [up] "i"(2 * distance), [down] "i"(-distance), [next] "i"(distance)
      : "memory");
  *input = next;
  return sums;
}

LITESIGHT_INLINE int32x4_t litesight_four_double(const int8_t **input, int32_t distance, int8x16_t first,
                                                 int8x16_t second) {
  int32x4_t sums;
  const int8_t *next = *input;
  int8x16_t x, y;
  int32_t a, b, c, d;
  __asm__(LITESIGHT_LOAD("x", "next") LITESIGHT_DOT("a", "x", "first") LITESIGHT_LOAD("y", "next")
              LITESIGHT_DOT("b", "x", "second") LITESIGHT_DOT("c", "y", "first") LITESIGHT_DOT("d", "y", "second")
                  LITESIGHT_LANES_02("sums", "a", "c") LITESIGHT_LANES_13("sums", "b", "d")
          : [input] "+r"(next), [x] "=&w"(x), [y] "=&w"(y), [sums] "=&w"(sums), [a] "=&Te"(a), [b] "=&Te"(b),
            [c] "=&Te"(c), [d] "=&Te"(d)
          : [first] "w"(first), [second] "w"(second), [next] "i"(distance)
          : "memory");
  *input = next;
  return sums;
}

/* Weights of up to 32 bytes. */
typedef struct litesight_mve_long_weights {
  int8x16_t head; /* bytes 0 to 15 */
  int8x16_t tail; /* bytes 16 to 31 */
} litesight_mve_long_weights;

/* One output from 16 bytes. Inputs 0, 4, 1, 5, 2, 6, 3, 7. */
#define LITESIGHT_SINGLE_PAIR(step) \
  LITESIGHT_LOAD("x", "up")         \
  LITESIGHT_DOT("a", "x", "weights") LITESIGHT_LOAD("y", step) LITESIGHT_DOT("b", "y", "weights")

LITESIGHT_INLINE litesight_mve_eight litesight_eight_single(const int8_t **input, int32_t distance, int8x16_t weights) {
  litesight_mve_eight sums;
  const int8_t *next = *input;
  int8x16_t x, y;
  int32_t a, b;
  __asm__(LITESIGHT_SINGLE_PAIR("down") LITESIGHT_LANES_02("even", "a", "b") LITESIGHT_SINGLE_PAIR("down")
              LITESIGHT_LANES_02("odd", "a", "b") LITESIGHT_SINGLE_PAIR("down") LITESIGHT_LANES_13("even", "a", "b")
                  LITESIGHT_SINGLE_PAIR("next") LITESIGHT_LANES_13("odd", "a", "b")
          : [input] "+r"(next), [x] "=&w"(x), [y] "=&w"(y), [even] "=&w"(sums.even), [odd] "=&w"(sums.odd),
            [a] "=&Te"(a), [b] "=&Te"(b)
          : [weights] "w"(weights), [up] "i"(4 * distance), [down] "i"(-3 * distance), [next] "i"(distance)
          : "memory");
  *input = next;
  return sums;
}

LITESIGHT_INLINE int32x4_t litesight_four_single(const int8_t **input, int32_t distance, int8x16_t weights) {
  int32x4_t sums;
  const int8_t *next = *input;
  int8x16_t x, y;
  int32_t a, b;
  __asm__(LITESIGHT_SINGLE_PAIR("down") LITESIGHT_LANES_02("sums", "a", "b") LITESIGHT_SINGLE_PAIR("next")
              LITESIGHT_LANES_13("sums", "a", "b")
          : [input] "+r"(next), [x] "=&w"(x), [y] "=&w"(y), [sums] "=&w"(sums), [a] "=&Te"(a), [b] "=&Te"(b)
          : [weights] "w"(weights), [up] "i"(2 * distance), [down] "i"(-distance), [next] "i"(distance)
          : "memory");
  *input = next;
  return sums;
}

/* One output from 32 bytes. */
#define LITESIGHT_LONG_SINGLE(sum, step) \
  LITESIGHT_LOAD("x", "sixteen")         \
  LITESIGHT_DOT(sum, "x", "head") LITESIGHT_LOAD("y", step) LITESIGHT_DOT_ADD(sum, "y", "tail")

LITESIGHT_INLINE litesight_mve_eight litesight_eight_long_single(const int8_t **input, int32_t distance,
                                                                 litesight_mve_long_weights weights) {
  litesight_mve_eight sums;
  const int8_t *next = *input;
  int8x16_t x, y;
  int32_t a, b;
  __asm__(LITESIGHT_LONG_SINGLE("a", "up") LITESIGHT_LONG_SINGLE("b", "down") LITESIGHT_LANES_02("even", "a", "b")
              LITESIGHT_LONG_SINGLE("a", "up") LITESIGHT_LONG_SINGLE("b", "down") LITESIGHT_LANES_02("odd", "a", "b")
                  LITESIGHT_LONG_SINGLE("a", "up") LITESIGHT_LONG_SINGLE("b", "down")
                      LITESIGHT_LANES_13("even", "a", "b") LITESIGHT_LONG_SINGLE("a", "up")
                          LITESIGHT_LONG_SINGLE("b", "next") LITESIGHT_LANES_13("odd", "a", "b")
          : [input] "+r"(next), [x] "=&w"(x), [y] "=&w"(y), [even] "=&w"(sums.even), [odd] "=&w"(sums.odd),
            [a] "=&Te"(a), [b] "=&Te"(b)
          : [head] "w"(weights.head), [tail] "w"(weights.tail), [sixteen] "i"(16), [up] "i"(4 * distance - 16),
            [down] "i"(-3 * distance - 16), [next] "i"(distance - 16)
          : "memory");
  *input = next;
  return sums;
}

LITESIGHT_INLINE int32x4_t litesight_four_long_single(const int8_t **input, int32_t distance,
                                                      litesight_mve_long_weights weights) {
  int32x4_t sums;
  const int8_t *next = *input;
  int8x16_t x, y;
  int32_t a, b;
  __asm__(LITESIGHT_LONG_SINGLE("a", "up") LITESIGHT_LONG_SINGLE("b", "down") LITESIGHT_LANES_02("sums", "a", "b")
              LITESIGHT_LONG_SINGLE("a", "up") LITESIGHT_LONG_SINGLE("b", "next") LITESIGHT_LANES_13("sums", "a", "b")
          : [input] "+r"(next), [x] "=&w"(x), [y] "=&w"(y), [sums] "=&w"(sums), [a] "=&Te"(a), [b] "=&Te"(b)
          : [head] "w"(weights.head), [tail] "w"(weights.tail), [sixteen] "i"(16), [up] "i"(2 * distance - 16),
            [down] "i"(-distance - 16), [next] "i"(distance - 16)
          : "memory");
  *input = next;
  return sums;
}

#ifdef __cplusplus
}
#endif

#endif
