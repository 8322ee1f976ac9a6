/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_port.h"

void litesight_port_print(const char *text) {
  while (*text != '\0') {
    litesight_port_write((uint8_t)*text++);
  }
}

void litesight_port_print_number(uint32_t number) {
  char digits[11]; /* 2^32 - 1 has ten */
  char *first = &digits[10];
  *first = '\0';
  do {
    *--first = (char)('0' + number % 10u);
    number /= 10u;
  } while (number != 0u);
  litesight_port_print(first);
}
