/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a port gives the program that runs on a board: a serial line, a counter and the stack's bounds. Start-up code
 * has called litesight_port_init() before main() begins.
 */
#ifndef LITESIGHT_PORT_H
#define LITESIGHT_PORT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Clock and serial line. For start-up code. */
void litesight_port_init(void);

/* Waits for a byte from the serial line. */
uint8_t litesight_port_read(void);

/* Waits until the serial line takes the byte. */
void litesight_port_write(uint8_t byte);

/* Text until its NUL. */
void litesight_port_print(const char *text);

/* Decimal, without leading zeros. */
void litesight_port_print_number(uint32_t number);

/*
 * Counts up at the core's clock and wraps at 2^32. Interrupts must be enabled. On an emulated board it counts
 * instructions: see boards/counter.py.
 */
uint32_t litesight_port_counter(void);

/*
 * The stack's high-water mark: paint what is free of it, run, ask how many bytes have been in use at the most since.
 * Start-up code paints once before main().
 */
void litesight_port_paint_stack(void);
uint32_t litesight_port_stack_used(void);
uint32_t litesight_port_stack_size(void);

/* Stops for good. */
__attribute__((noreturn)) void litesight_port_halt(void);

#ifdef __cplusplus
}
#endif

#endif
