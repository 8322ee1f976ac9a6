/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_log.h"

#include <stdio.h>

void litesight_log(const char *text) {
  fputs(text, stdout);
  fflush(stdout);
}
