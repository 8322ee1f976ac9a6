/* SPDX-License-Identifier: Apache-2.0 */
/* One letter, one answer: what the tests want to know of a port. */
#include <string.h>

#include "litesight_port.h"

_Noreturn void litesight_reset(void);

static volatile uint32_t initialised = 0x12345678u;
static volatile uint32_t zeroed[3];

/* 4 instructions an iteration */
static void spin(uint32_t iterations) {
  __asm volatile(
      "1:\n\t"
      "nop\n\t"
      "nop\n\t"
      "subs %0, #1\n\t"
      "bne 1b"
      : "+r"(iterations)
      :
      : "cc");
}

static uint32_t ticks_of(uint32_t iterations) {
  const uint32_t before = litesight_port_counter();
  spin(iterations);
  return litesight_port_counter() - before;
}

static float half(float value) {
  volatile float x = value; /* faults unless the FPU is on */
  return x * 0.5f;
}

__attribute__((noinline)) static uint32_t use_stack(void) {
  volatile uint8_t block[1000];
  memset((void *)block, 1, sizeof block);
  return block[999];
}

uint32_t sink(uint32_t depth);
static uint32_t (*volatile again)(uint32_t) = sink;
uint32_t sink(uint32_t depth) {
  volatile uint32_t block[40];
  block[depth % 40u] = depth;
  return again(depth + 1u) + block[depth % 40u];
}

/* lr stays in main, so that it cannot be taken for pc */
__attribute__((noinline)) static void crash(void) { *(volatile uint32_t *)0xF0000000u = 1; }

/*
 * Lets SysTick wrap after 1,024 ticks instead of 2^24, so that readings meet many wraps. The counter then jumps by the
 * rest at every wrap, and must neither go back nor jump otherwise. Returns 1 for well.
 */
static uint32_t wraps_are_in_order(void) {
  volatile uint32_t *const reload = (volatile uint32_t *)0xE000E014u;
  volatile uint32_t *const current = (volatile uint32_t *)0xE000E018u;
  const uint32_t jump = (1u << 24) - 1024u;
  *reload = 1023u;
  *current = 0;
  spin(1000);
  uint32_t jumps = 0;
  uint32_t wrong = 0;
  uint32_t last = litesight_port_counter();
  for (uint32_t i = 0; i < 10000u; ++i) {
    const uint32_t now = litesight_port_counter();
    const uint32_t step = now - last;
    jumps += step >= jump && step < jump + 100u;
    wrong += step >= 100u && (step < jump || step >= jump + 100u);
    last = now;
  }
  *reload = (1u << 24) - 1u;
  *current = 0;
  return jumps > 2u && wrong == 0u;
}

static uint32_t read_number(void) {
  uint32_t number = 0;
  for (uint8_t digit = litesight_port_read(); digit != ';'; digit = litesight_port_read()) {
    number = number * 10u + (uint32_t)(digit - '0');
  }
  return number;
}

static void answer(uint32_t number) {
  litesight_port_print_number(number);
  litesight_port_print("\r\n");
}

int main(void) {
  litesight_port_print("m-ready\r\n");
  for (;;) {
    switch (litesight_port_read()) {
      case 'b': /* a byte comes back inverted */
        litesight_port_write((uint8_t)~litesight_port_read());
        break;
      case 'm': /* memory is as C wants it */
        answer(initialised + zeroed[0] + zeroed[1] + zeroed[2]);
        break;
      case 't':
        answer(ticks_of(read_number()));
        break;
      case 'h':
        answer((uint32_t)half(84.0f));
        break;
      case 's':
        litesight_port_paint_stack();
        answer(litesight_port_stack_used());
        answer(use_stack());
        answer(litesight_port_stack_used());
        answer(litesight_port_stack_size());
        break;
      case 'f':
        crash();
        break;
      case 'o':
        answer(sink(0));
        break;
      case 'u': /* painted by start-up code only */
        answer(litesight_port_stack_used());
        break;
      case 'w':
        answer(wraps_are_in_order());
        break;
      case 'r': /* start again, with memory in disorder */
        initialised = 1;
        zeroed[1] = 1;
        litesight_reset();
      case 'q':
        return 7;
      default:
        answer(UINT32_MAX);
    }
  }
}
