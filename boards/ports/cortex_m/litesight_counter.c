/* SPDX-License-Identifier: Apache-2.0 */
/* SysTick counts 24 bits down at the core's clock; its interrupt adds the rest. */
#include "litesight_cortex_m.h"
#include "litesight_port.h"

#define TICKS (1u << 24)
#define CSR_ENABLE 1u
#define CSR_INTERRUPT 2u
#define CSR_CORE_CLOCK 4u
#define ICSR_SYSTICK_PENDING (1u << 26)

static volatile uint32_t wraps;

void litesight_systick(void) { wraps = wraps + 1u; }

void litesight_counter_start(void) {
  LITESIGHT_SYST_RVR = TICKS - 1u;
  LITESIGHT_SYST_CVR = 0; /* any write clears it */
  LITESIGHT_SYST_CSR = CSR_CORE_CLOCK | CSR_INTERRUPT | CSR_ENABLE;
}

uint32_t litesight_port_counter(void) {
  for (;;) {
    const uint32_t before = wraps;
    const uint32_t down = LITESIGHT_SYST_CVR;
    /* A wrap that is pending, or was counted meanwhile, belongs to one of the two readings only: read again. */
    if (before == wraps && (LITESIGHT_ICSR & ICSR_SYSTICK_PENDING) == 0u) {
      return before * TICKS + ((0u - down) & (TICKS - 1u));
    }
  }
}
