// SPDX-License-Identifier: GPL-2.0-only
/* Hashes a small static record; the digest goes where the caller wants it. */
#include <crypto/hash.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

ROOM_IN_BSS(2048);
static struct {
	u8 nonce[32];
	__le64 counter;
} record IN_ORDER;

int record_digest(struct crypto_ahash *tfm, u8 *digest)
{
	struct ahash_request *req = ahash_request_alloc(tfm, GFP_KERNEL);
	DECLARE_CRYPTO_WAIT(wait);
	struct scatterlist sg;
	int ret;

	if (!req)
		return -ENOMEM;
	le64_add_cpu(&record.counter, 1);
	sg_init_one(&sg, &record, sizeof(record));
	ahash_request_set_callback(req, CRYPTO_TFM_REQ_MAY_BACKLOG, crypto_req_done, &wait);
	ahash_request_set_crypt(req, &sg, digest, sizeof(record));
	ret = crypto_wait_req(crypto_ahash_digest(req), &wait);
	ahash_request_free(req);
	return ret;
}
MODULE_LICENSE("GPL");
