/* SPDX-License-Identifier: Apache-2.0 */
/* Pixels unpacked to 16 bits, as the loops of litesight_dot.h want them. */
#ifndef LITESIGHT_PANEL_H
#define LITESIGHT_PANEL_H

#include <stdint.h>

#include "litesight_load.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The bytes of values 1 and 3. The compiler must not know what is in the register, for otherwise it would mask with an
 * immediate value, which needs a shift before instead of on the way.
 */
static inline uint32_t litesight_panel_mask(void) {
  uint32_t mask = 0xff00ff00u;
  __asm__("" : "+r"(mask));
  return mask;
}

/* Values 0 and 2 times 256. */
static inline uint32_t litesight_even_values(uint32_t word, uint32_t mask) { return (word << 8) & mask; }

/* Values 1 and 3 times 256. */
static inline uint32_t litesight_odd_values(uint32_t word, uint32_t mask) { return word & mask; }

/* Unpacks `values` (a multiple of 4) values of each of `pixels` pixels that lie `distance` bytes apart. */
static inline void litesight_fill_panel(uint32_t *panel, const int8_t *input, uint32_t distance, uint32_t values,
                                        uint32_t pixels) {
  const uint32_t mask = litesight_panel_mask();
  const int8_t *end = input + values;
  while (input != end) {
#pragma GCC unroll 4
    for (uint32_t p = 0; p < pixels; ++p) {
      const uint32_t word = litesight_load4(input + p * distance);
      panel[p] = litesight_even_values(word, mask);
      panel[pixels + p] = litesight_odd_values(word, mask);
    }
    panel += 2u * pixels;
    input += 4;
  }
}

/* Unpacks one of `pixels` pixels. */
static inline void litesight_fill_panel_pixel(uint32_t *panel, const int8_t *input, uint32_t values, uint32_t pixels) {
  const uint32_t mask = litesight_panel_mask();
  const int8_t *end = input + values;
  while (input != end) {
    const uint32_t word = litesight_load4(input);
    panel[0] = litesight_even_values(word, mask);
    panel[pixels] = litesight_odd_values(word, mask);
    panel += 2u * pixels;
    input += 4;
  }
}

#ifdef __cplusplus
}
#endif

#endif
