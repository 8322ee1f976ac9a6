/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_serial_text.h"

#include "litesight_port.h"

enum { TERMINATOR = '%', FIRST_PRINTABLE = 0x20, LAST_PRINTABLE = 0x7e };

/* The next byte that is not a control character: people type line ends, and a board that wakes up sends zeros. */
static uint8_t read_printable(void) {
  uint8_t byte;
  do {
    byte = litesight_port_read();
  } while (byte < FIRST_PRINTABLE);
  return byte;
}

bool litesight_text_read(char *line, size_t size) {
  size_t length = 0;
  bool fits = true;
  for (;;) {
    const uint8_t byte = read_printable();
    if (byte == TERMINATOR) {
      line[length] = '\0';
      return fits;
    }
    if (length + 1 < size) {
      line[length] = (char)byte;
      ++length;
    } else {
      fits = false;
    }
  }
}

size_t litesight_text_read_hex(int8_t *bytes, size_t count) {
  size_t digits = 0;
  unsigned value = 0;
  bool is_hex = true;
  for (;;) {
    const uint8_t byte = read_printable();
    if (byte == TERMINATOR) {
      return is_hex ? digits : LITESIGHT_NOT_HEX;
    }
    const int digit = litesight_text_hex_digit((char)byte);
    is_hex = is_hex && digit >= 0;
    if (!is_hex || digits > 2 * count) {
      continue; /* the rest of the line is read all the same, or it would be taken for a command */
    }
    value = (value << 4 | (unsigned)digit) & 0xffu;
    if (digits % 2 == 1) {
      bytes[digits / 2] = (int8_t)(uint8_t)value;
    }
    ++digits;
  }
}

char *litesight_text_word(char **rest) {
  char *word = *rest;
  while (*word == ' ') {
    ++word;
  }
  if (*word == '\0') {
    return NULL;
  }
  char *end = word;
  while (*end != ' ' && *end != '\0') {
    ++end;
  }
  *rest = *end == '\0' ? end : end + 1;
  *end = '\0';
  return word;
}

bool litesight_text_equal(const char *a, const char *b) {
  while (*a != '\0' && *a == *b) {
    ++a;
    ++b;
  }
  return *a == *b;
}

bool litesight_text_number(const char *text, uint32_t *number) {
  uint32_t value = 0;
  if (*text == '\0') {
    return false;
  }
  for (; *text != '\0'; ++text) {
    const uint32_t digit = (uint32_t)((uint8_t)*text - (uint32_t)'0');
    if (digit > 9u || value > (UINT32_MAX - digit) / 10u) {
      return false;
    }
    value = value * 10u + digit;
  }
  *number = value;
  return true;
}

int litesight_text_hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  if (c >= 'A' && c <= 'F') {
    return c - 'A' + 10;
  }
  return -1;
}

void litesight_text_write_foreign(const char *text) {
  for (; *text != '\0'; ++text) {
    const uint8_t byte = (uint8_t)*text;
    const bool is_plain = byte >= FIRST_PRINTABLE && byte <= LAST_PRINTABLE && byte != '[' && byte != ']';
    litesight_port_write(is_plain ? byte : (uint8_t)'_');
  }
}

void litesight_text_write_number(uint64_t number) {
  char digits[21]; /* 2^64 - 1 has twenty */
  char *first = &digits[20];
  *first = '\0';
  do {
    --first;
    *first = (char)('0' + (int)(number % 10u));
    number /= 10u;
  } while (number != 0u);
  litesight_port_print(first);
}

void litesight_text_write_hex(uint8_t byte) {
  static const char digits[] = "0123456789abcdef";
  litesight_port_write((uint8_t)digits[byte >> 4]);
  litesight_port_write((uint8_t)digits[byte & 15u]);
}

void litesight_text_write_fact(const char *label, uint64_t number) {
  litesight_port_print(label);
  litesight_port_print("[");
  litesight_text_write_number(number);
  litesight_port_print("]" LITESIGHT_LINE_END);
}
