/* SPDX-License-Identifier: Apache-2.0 */
/* The APB UART of Arm's Cortex-M System Design Kit (DDI 0479D, 4.3), on every FPGA image of the MPS2 and MPS3 boards.
 */
#include "litesight_port.h"

typedef struct uart {
  volatile uint32_t data;
  volatile uint32_t state;
  volatile uint32_t control;
  volatile uint32_t interrupt;
  volatile uint32_t baud_divider;
} uart;

#define UART ((uart *)(uintptr_t)LITESIGHT_SERIAL_ADDRESS)
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define CONTROL_TX 1u
#define CONTROL_RX 2u

void litesight_port_init(void) {
  UART->baud_divider = LITESIGHT_CLOCK_HZ / LITESIGHT_BAUD; /* 16 at least */
  UART->control = CONTROL_TX | CONTROL_RX;
}

uint8_t litesight_port_read(void) {
  while ((UART->state & STATE_RX_FULL) == 0u) {
  }
  return (uint8_t)UART->data;
}

void litesight_port_write(uint8_t byte) {
  while ((UART->state & STATE_TX_FULL) != 0u) {
  }
  UART->data = byte;
}
