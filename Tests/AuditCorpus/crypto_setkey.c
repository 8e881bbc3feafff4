// SPDX-License-Identifier: GPL-2.0-only
/* The key is static and is copied when it is set; the data that a device may touch are the caller's copy. */
#include <crypto/skcipher.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include "place.h"

ROOM_IN_DATA(4084);
static u8 default_key[32] IN_ORDER __aligned(4) = { 0x2b, 0x7e, 0x15, 0x16, [31] = 0x4f };

int seal(struct crypto_skcipher *tfm, struct skcipher_request *req, struct crypto_wait *wait, const void *data, u32 bytes,
	 void **sealed)
{
	struct scatterlist sg;
	u8 iv[16] = { 1 };
	int ret = crypto_skcipher_setkey(tfm, default_key, sizeof(default_key));

	if (ret)
		return ret;
	*sealed = kmemdup(data, bytes, GFP_KERNEL);
	if (!*sealed)
		return -ENOMEM;
	sg_init_one(&sg, *sealed, bytes);
	skcipher_request_set_crypt(req, &sg, &sg, bytes, iv);
	return crypto_wait_req(crypto_skcipher_encrypt(req), wait);
}
MODULE_LICENSE("GPL");
