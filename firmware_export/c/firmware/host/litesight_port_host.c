/* SPDX-License-Identifier: Apache-2.0 */
/* A process as a board: its standard input and output are the serial line, and it ends when the line does. */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "litesight_port.h"

void litesight_port_init(void) {}

uint8_t litesight_port_read(void) {
  uint8_t byte;
  if (read(STDIN_FILENO, &byte, 1) != 1) {
    exit(EXIT_SUCCESS);
  }
  return byte;
}

void litesight_port_write(uint8_t byte) {
  if (write(STDOUT_FILENO, &byte, 1) != 1) {
    exit(EXIT_FAILURE);
  }
}

/* Of LITESIGHT_CLOCK_HZ 1000000. */
uint32_t litesight_port_counter(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

/* The system's stack is not ours to paint. */
void litesight_port_paint_stack(void) {}
uint32_t litesight_port_stack_used(void) { return 0; }
uint32_t litesight_port_stack_size(void) { return 0; }

_Noreturn void litesight_port_halt(void) { exit(EXIT_SUCCESS); }
