/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_meter.h"

#include <string.h>

#include "litesight_firmware.h"
#include "litesight_port.h"
#include "litesight_serial_text.h"

#define MICROSECONDS 1000000u

static uint32_t latest_reading;
static uint64_t ticks_before;

/* Of the running inference: the time at which it would have begun, had it never paused. */
static uint32_t begin;
static uint32_t paused_at;
static uint32_t latest_ticks;

uint64_t litesight_meter_clock(void) {
  const uint32_t now = litesight_port_counter();
  ticks_before += now - latest_reading;
  latest_reading = now;
  return ticks_before;
}

uint64_t litesight_meter_microseconds(void) {
  const uint64_t ticks = litesight_meter_clock();
  return ticks / LITESIGHT_CLOCK_HZ * MICROSECONDS + ticks % LITESIGHT_CLOCK_HZ * MICROSECONDS / LITESIGHT_CLOCK_HZ;
}

#ifdef LITESIGHT_STEP_HOOK
static uint32_t step_begin;
static uint32_t op_ticks[LITESIGHT_FIRMWARE_OPS];
static uint32_t op_steps[LITESIGHT_FIRMWARE_OPS];

void litesight_step_done(uint32_t op);

/* One reading ends a step and begins the next, so that nothing is lost between them. */
void litesight_step_done(uint32_t op) {
  const uint32_t now = litesight_port_counter();
  op_ticks[op] += now - step_begin;
  op_steps[op] += 1u;
  step_begin = now;
}

void litesight_meter_print_steps(void) {
  for (uint32_t op = 0; op < LITESIGHT_FIRMWARE_OPS; ++op) {
    if (op_steps[op] != 0u) {
      litesight_port_print("m-step-[");
      litesight_port_print_number(op);
      litesight_port_print(",");
      litesight_port_print_number(op_steps[op]);
      litesight_port_print(",");
      litesight_port_print_number(op_ticks[op]);
      litesight_port_print("]" LITESIGHT_LINE_END);
    }
  }
}
#else
void litesight_meter_print_steps(void) {
  litesight_port_print("e-[This firmware was built without LITESIGHT_STEP_HOOK]" LITESIGHT_LINE_END);
}
#endif

void litesight_meter_start(void) {
#ifdef LITESIGHT_STEP_HOOK
  memset(op_ticks, 0, sizeof op_ticks);
  memset(op_steps, 0, sizeof op_steps);
#endif
  begin = litesight_port_counter();
#ifdef LITESIGHT_STEP_HOOK
  step_begin = begin;
#endif
}

void litesight_meter_pause(void) { paused_at = litesight_port_counter(); }

void litesight_meter_resume(void) {
  const uint32_t pause = litesight_port_counter() - paused_at;
  begin += pause;
#ifdef LITESIGHT_STEP_HOOK
  step_begin += pause;
#endif
}

void litesight_meter_stop(void) { latest_ticks = litesight_port_counter() - begin; }

uint32_t litesight_meter_ticks(void) { return latest_ticks; }
