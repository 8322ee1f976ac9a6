/* SPDX-License-Identifier: Apache-2.0 */
/* The board's counter as a stopwatch around an inference that can be stopped, and a time per op. */
#ifndef LITESIGHT_METER_H
#define LITESIGHT_METER_H

#include <stdint.h>

/* Ticks since the start; does not wrap, provided that it is asked once per wrap of the board's counter. */
uint64_t litesight_meter_clock(void);

/* The same in microseconds. On an emulated board it is virtual: a function of executed instructions, not of time. */
uint64_t litesight_meter_microseconds(void);

void litesight_meter_start(void);

/* What happens between the two does not count: waiting for a row is no part of an inference. */
void litesight_meter_pause(void);
void litesight_meter_resume(void);

void litesight_meter_stop(void);

/* Ticks between the latest start and stop. */
uint32_t litesight_meter_ticks(void);

/*
 * Prints "m-step-[op,steps,ticks]" for each op of the latest inference. But for the engine's return after the last step
 * they add up to litesight_meter_ticks.
 */
void litesight_meter_print_steps(void);

#endif
