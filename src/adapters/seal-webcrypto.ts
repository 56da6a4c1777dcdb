import { checkBytes, isBytes } from "../domain/check.js";
import { invalid } from "../domain/errors.js";
import type { Seal } from "../ports/seal.js";

const ALGORITHM = "AES-GCM";
const IV_BYTES = 12;
const KEY_BYTES = 32;
const USAGES: KeyUsage[] = ["encrypt", "decrypt"];

/** AES-GCM with 256 bits, under a key that cannot be exported. Only where the platform has `crypto.subtle`. */
export function webCryptoSeal(): Seal {
  const { crypto } = globalThis;
  const { subtle } = crypto;
  const settings = (iv: Uint8Array, context: string): AesGcmParams => ({
    name: ALGORITHM,
    iv: iv as BufferSource,
    additionalData: new TextEncoder().encode(context),
  });
  return {
    newKey: () => subtle.generateKey({ name: ALGORITHM, length: 8 * KEY_BYTES }, false, USAGES),
    newKeyBytes: () => crypto.getRandomValues(new Uint8Array(KEY_BYTES)),
    async keyOf(loaded) {
      if (isBytes(loaded)) {
        const bytes = checkBytes("what keys.load gives", loaded, KEY_BYTES);
        if (bytes.length < KEY_BYTES) throw invalid(`what keys.load gives must be ${KEY_BYTES} bytes long`);
        return await subtle.importKey("raw", bytes as BufferSource, ALGORITHM, false, USAGES);
      }
      if (!isUsable(loaded))
        throw invalid(
          `what keys.load gives must be ${KEY_BYTES} bytes, or a CryptoKey of ${ALGORITHM} that may encrypt and decrypt`,
        );
      return loaded;
    },
    async seal(key, plain, context) {
      // The kernel's own source of randomness may repeat (in simulations), and a repeated IV breaks the cipher.
      const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
      const sealed = await subtle.encrypt(settings(iv, context), key as CryptoKey, plain as BufferSource);
      return { iv, sealed: new Uint8Array(sealed) };
    },
    async open(key, { iv, sealed }, context) {
      return new Uint8Array(await subtle.decrypt(settings(iv, context), key as CryptoKey, sealed as BufferSource));
    },
  };
}

/** The getters read the key's own members: an object that only looks like a key has none. */
function isUsable(key: unknown): boolean {
  const own = (member: "algorithm" | "usages"): unknown =>
    Object.getOwnPropertyDescriptor(CryptoKey.prototype, member)?.get?.call(key);
  try {
    const usages = own("usages") as KeyUsage[];
    return (own("algorithm") as KeyAlgorithm).name === ALGORITHM && USAGES.every((usage) => usages.includes(usage));
  } catch {
    return false;
  }
}
