/* SPDX-License-Identifier: Apache-2.0 */
/* Text to and from the serial line; no printf, which would cost as much flash as the engine. */
#ifndef LITESIGHT_SERIAL_TEXT_H
#define LITESIGHT_SERIAL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LITESIGHT_LINE_END "\r\n"

/*
 * Reads a command up to '%' into `line`, which gets a final 0; control characters, line ends among them, are left out.
 * Returns whether all of it went in; what did not is read and dropped.
 */
bool litesight_text_read(char *line, size_t size);

#define LITESIGHT_NOT_HEX SIZE_MAX

/*
 * Reads hexadecimal digits up to '%', two for each of `count` bytes; control characters are left out. Returns how many
 * digits came (those after 2 * count + 1 are not counted), or LITESIGHT_NOT_HEX when anything else came.
 */
size_t litesight_text_read_hex(int8_t *bytes, size_t count);

/* The next word, which gets a final 0, or NULL; *rest moves behind it. */
char *litesight_text_word(char **rest);

/* Without the C library, whose strcmp is made for speed and takes 700 bytes. */
bool litesight_text_equal(const char *a, const char *b);

/* Reads a decimal number that is all of `text`, at most UINT32_MAX. */
bool litesight_text_number(const char *text, uint32_t *number);

/* 0 to 15, or -1 for what is no hexadecimal digit. */
int litesight_text_hex_digit(char c);

/* Text of somebody else's: what a receiver could take for a bracket of ours, or cannot decode, becomes '_'. */
void litesight_text_write_foreign(const char *text);

void litesight_text_write_number(uint64_t number);

void litesight_text_write_hex(uint8_t byte);

/* "label[number]" and a line end. */
void litesight_text_write_fact(const char *label, uint64_t number);

#endif
