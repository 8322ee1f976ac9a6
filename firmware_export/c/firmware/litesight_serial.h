/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network on a serial line: the commands of the MLPerf Tiny benchmark, so that its public runner
 * (mlcommons/tiny, benchmark/runner) drives a board unchanged, and a few of our own that give exact values.
 *
 * A command is text up to '%'; line ends in it do not count. The answer is lines ending in CR LF, the last of which is
 * "m-ready". A line "e-[...]" tells what was wrong. docs/serial.md lists commands and answers.
 *
 * LITESIGHT_FIRMWARE_ROWS 1: the engine runs while the rows of the input come over the line, so there is no frame in
 * RAM, and "rows" replaces "db" and "infer". 0: the frame is a buffer that "db" fills.
 */
#ifndef LITESIGHT_SERIAL_H
#define LITESIGHT_SERIAL_H

/* Prepares the engine and answers commands, by way of litesight_port.h, for ever. */
_Noreturn void litesight_serial_run(void);

#endif
