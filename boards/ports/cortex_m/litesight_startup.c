/* SPDX-License-Identifier: Apache-2.0 */
/* From reset to main(). */
#include "litesight_cortex_m.h"
#include "litesight_port.h"

int main(void);

#define VECTORS 16

typedef union vector {
  void (*handler)(void);
  uint32_t *stack;
} vector;

/* No device interrupt is ever enabled, so the table ends after the core's own exceptions. */
__attribute__((section(".vectors"), used)) static const vector vectors[VECTORS] = {
    {.stack = litesight_stack_top},
    {.handler = litesight_reset},
    {.handler = litesight_fault}, /* NMI */
    {.handler = litesight_fault}, /* HardFault */
    {.handler = litesight_fault}, /* MemManage */
    {.handler = litesight_fault}, /* BusFault */
    {.handler = litesight_fault}, /* UsageFault */
    {.handler = litesight_fault}, /* SecureFault */
    {.handler = 0},
    {.handler = 0},
    {.handler = 0},
    {.handler = litesight_fault}, /* SVCall */
    {.handler = litesight_fault}, /* DebugMonitor */
    {.handler = 0},
    {.handler = litesight_fault}, /* PendSV */
    {.handler = litesight_systick},
};

static void enable_coprocessors(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  LITESIGHT_CPACR |= 0xFu << 20; /* CP10 and CP11: FPU and MVE */
#endif
#if defined(__ARM_FEATURE_MVE)
  LITESIGHT_CCR |= (1u << 18) | (1u << 19); /* branch prediction and low-overhead loops */
#endif
  __asm volatile("dsb\n\tisb" ::: "memory");
}

_Noreturn void litesight_reset(void) {
  litesight_guard_stack();
  enable_coprocessors();
  LITESIGHT_VTOR = (uint32_t)(uintptr_t)vectors;

  const uint32_t *source = litesight_data_load;
  for (uint32_t *target = litesight_data_start; target < litesight_data_end; ++target) {
    *target = *source++;
  }
  for (uint32_t *target = litesight_bss_start; target < litesight_bss_end; ++target) {
    *target = 0;
  }
  litesight_port_init();
  litesight_port_paint_stack();
  litesight_counter_start();

  const int status = main();
  litesight_port_print("\r\nm-end-[");
  litesight_port_print_number((uint32_t)status);
  litesight_port_print("]\r\n");
  litesight_port_halt();
}

_Noreturn void litesight_port_halt(void) {
  __asm volatile("cpsid i" ::: "memory");
  for (;;) {
    __asm volatile("wfi");
  }
}
