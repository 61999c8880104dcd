#ifndef LC_GROUP_HEAT_H
#define LC_GROUP_HEAT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How often keys are forwarded to their owners: a small direct-mapped table that all workers share, without locks. Each
 * slot follows one key by a count that loses half of itself in a second, so a key that is forwarded r times a second
 * settles at 2 r. A key whose count has fallen below a half leaves its slot to the next one. Updates that collide may
 * be lost: it is a measurement.
 */
#define LC_HEAT_SLOTS 8192u

struct lc_heat;

int lc_heat_create(struct lc_heat **heat); /* 0 or LC_ENOMEM */
void lc_heat_destroy(struct lc_heat *heat);

/* Counts one forward of the key with that hash. True: it is hot, forwarded about four times a second or more. */
bool lc_heat_add(struct lc_heat *heat, uint64_t hash, uint64_t now_ms);

#endif
