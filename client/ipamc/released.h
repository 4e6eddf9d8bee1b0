/* released.h: the line that says what became of a claim that was given back.
 *
 * Used by release and delete; knows the message and the output, no call.
 */
#ifndef IPAMC_RELEASED_H
#define IPAMC_RELEASED_H

#include "commands.h"

/* "LABEL 10.200.0.1/32 released", or "… released, kept from others until TIME" while it cools. */
void say_released(struct cli *cli, const char *label, const Ipam__V1__Claim *claim);

#endif
