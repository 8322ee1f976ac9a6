/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LITESIGHT_LOAD_H
#define LITESIGHT_LOAD_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Four bytes from any address: one LDR, which need not be aligned. */
static inline uint32_t litesight_load4(const int8_t *address) {
  uint32_t word;
  memcpy(&word, address, sizeof word);
  return word;
}

static inline void litesight_store4(int8_t *address, uint32_t word) { memcpy(address, &word, sizeof word); }

#ifdef __cplusplus
}
#endif

#endif
