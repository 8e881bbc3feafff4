// SPDX-License-Identifier: GPL-2.0-only
/* Hashes what was logged so far: a prefix of a static log, as long as the caller says. */
#include <crypto/hash.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

static char event_log[16384] IN_ORDER __aligned(4096);
static unsigned int logged;

void log_event(const char *text)
{
	unsigned int room = sizeof(event_log) - logged;
	int length = scnprintf(event_log + logged, room, "%s\n", text);

	logged += length;
}

int log_digest(struct ahash_request *req, struct crypto_wait *wait, u8 *digest)
{
	struct scatterlist sg;

	sg_init_one(&sg, event_log, logged);
	ahash_request_set_crypt(req, &sg, digest, logged);
	return crypto_wait_req(crypto_ahash_digest(req), wait);
}
MODULE_LICENSE("GPL");
