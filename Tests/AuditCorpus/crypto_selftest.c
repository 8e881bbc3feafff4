// SPDX-License-Identifier: GPL-2.0-only
/* Encrypts a static test vector in place before a device may be used. */
#include <crypto/skcipher.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

ROOM_IN_DATA(4032);
static u8 vector[128] IN_ORDER = { 0x6b, 0xc1, 0xbe, 0xe2, [127] = 0x10 };

int cipher_selftest(struct crypto_skcipher *tfm, u8 expected)
{
	struct skcipher_request *req = skcipher_request_alloc(tfm, GFP_KERNEL);
	DECLARE_CRYPTO_WAIT(wait);
	struct scatterlist sg;
	u8 iv[16] = { };
	int ret;

	if (!req)
		return -ENOMEM;
	sg_init_one(&sg, vector, sizeof(vector));
	skcipher_request_set_callback(req, CRYPTO_TFM_REQ_MAY_BACKLOG, crypto_req_done, &wait);
	skcipher_request_set_crypt(req, &sg, &sg, sizeof(vector), iv);
	ret = crypto_wait_req(crypto_skcipher_encrypt(req), &wait);
	skcipher_request_free(req);
	return ret ?: vector[0] == expected ? 0 : -EBADMSG;
}
MODULE_LICENSE("GPL");
