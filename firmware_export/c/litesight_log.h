/* SPDX-License-Identifier: Apache-2.0 */
/* Where the example's text goes. */
#ifndef LITESIGHT_LOG_H
#define LITESIGHT_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

/* Writes a text as it is. Replace litesight_log.c by one that writes to your serial port. */
void litesight_log(const char *text);

#ifdef __cplusplus
}
#endif

#endif
