/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_cortex_m.h"
#include "litesight_port.h"

#define MPU_REGIONS 0xFF00u
#define MPU_ENABLE 1u
#define MPU_DEFAULT_MAP 4u
#define MPU_REGION_ENABLE 1u
#define MPU_4096_BYTES (11u << 1) /* log2 - 1; access permissions 0: none */

#define PAINT 0x5AC3A53Cu

void litesight_guard_stack(void) {
#if __ARM_ARCH >= 8
  __asm volatile("msr msplim, %0" ::"r"(litesight_stack_limit));
#else
  /* The stack is at the bottom of the RAM. Where the addresses below answer (they do on MPS2), the MPU must not let it.
   */
  const uint32_t guard = (uint32_t)(uintptr_t)litesight_stack_guard;
  if (guard != (uint32_t)(uintptr_t)litesight_stack_limit && (LITESIGHT_MPU_TYPE & MPU_REGIONS) != 0u) {
    LITESIGHT_MPU_RNR = 0;
    LITESIGHT_MPU_RBAR = guard;
    LITESIGHT_MPU_RASR = MPU_4096_BYTES | MPU_REGION_ENABLE;
    LITESIGHT_MPU_CTRL = MPU_DEFAULT_MAP | MPU_ENABLE;
    __asm volatile("dsb\n\tisb" ::: "memory");
  }
#endif
}

/* In one piece of assembly: between reading sp and writing below it the compiler could have pushed something. */
void litesight_port_paint_stack(void) {
  uint32_t *word = litesight_stack_limit;
  __asm volatile(
      "1:\n\t"
      "cmp %0, sp\n\t"
      "itt lo\n\t"
      "strlo %1, [%0], #4\n\t"
      "blo 1b"
      : "+r"(word)
      : "r"(PAINT)
      : "cc", "memory");
}

uint32_t litesight_port_stack_used(void) {
  const uint32_t *word = litesight_stack_limit;
  while (word < litesight_stack_top && *word == PAINT) {
    ++word;
  }
  return (uint32_t)((uintptr_t)litesight_stack_top - (uintptr_t)word);
}

uint32_t litesight_port_stack_size(void) {
  return (uint32_t)((uintptr_t)litesight_stack_top - (uintptr_t)litesight_stack_limit);
}
