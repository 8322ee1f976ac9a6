/* SPDX-License-Identifier: Apache-2.0 */
/* A fault ends the program with one line: m-fault-[what pc lr cfsr hfsr bfar]. */
#include "litesight_cortex_m.h"
#include "litesight_port.h"

/* Stacking errors of MemManage and BusFault, and Armv8-M's stack limit (Armv8-M ARM, CFSR). */
#define CFSR_STACK ((1u << 4) | (1u << 12) | (1u << 20))
#define FRAME_WORDS 8 /* r0-r3, r12, lr, pc, xpsr */
#define FRAME_LR 5
#define FRAME_PC 6

_Noreturn void litesight_report_fault(const uint32_t *frame);

static void print_hex(const char *label, uint32_t value) {
  litesight_port_print(label);
  for (int shift = 28; shift >= 0; shift -= 4) {
    litesight_port_write((uint8_t) "0123456789abcdef"[(value >> shift) & 15u]);
  }
}

_Noreturn void litesight_report_fault(const uint32_t *frame) {
  const uint32_t cfsr = LITESIGHT_CFSR;
  const int has_frame =
      (cfsr & CFSR_STACK) == 0u && frame >= litesight_stack_limit && frame + FRAME_WORDS <= litesight_stack_top;
  litesight_port_print(has_frame ? "\r\nm-fault-[hard fault" : "\r\nm-fault-[stack overflow");
  if (has_frame) {
    print_hex(" pc=", frame[FRAME_PC]);
    print_hex(" lr=", frame[FRAME_LR]);
  }
  print_hex(" cfsr=", cfsr);
  print_hex(" hfsr=", LITESIGHT_HFSR);
  print_hex(" bfar=", LITESIGHT_BFAR);
  litesight_port_print("]\r\n");
  litesight_port_halt();
}

/* Where the stack has no room left for the report, the report gets it anew from the top; the frame is at its other end.
 */
__attribute__((naked)) void litesight_fault(void) {
  __asm volatile(
      "mrs r0, msp\n\t"
      "ldr r1, =litesight_stack_limit + 256\n\t"
      "cmp r0, r1\n\t"
      "itt lo\n\t"
      "ldrlo r1, =litesight_stack_top\n\t"
      "msrlo msp, r1\n\t"
      "b litesight_report_fault");
}
