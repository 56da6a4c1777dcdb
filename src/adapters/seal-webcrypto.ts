import type { Seal } from "../ports/seal.js";

const ALGORITHM = "AES-GCM";
const IV_BYTES = 12;

/**
 * AES-GCM with 256 bits under a key that cannot be exported. `undefined` where the platform has no `crypto.subtle`, as in an
 * insecure context.
 */
export function platformSeal(): Seal | undefined {
  const platform = (globalThis as { crypto?: Crypto }).crypto;
  const subtle = platform?.subtle as SubtleCrypto | undefined;
  if (!platform || !subtle) return undefined;
  const settings = (iv: Uint8Array, context: string): AesGcmParams => ({
    name: ALGORITHM,
    iv: iv as BufferSource,
    additionalData: new TextEncoder().encode(context),
  });
  return {
    newKey: () => subtle.generateKey({ name: ALGORITHM, length: 256 }, false, ["encrypt", "decrypt"]),
    async seal(key, plain, context) {
      // The kernel's own source of randomness may repeat (in simulations), and a repeated IV breaks the cipher.
      const iv = platform.getRandomValues(new Uint8Array(IV_BYTES));
      const sealed = await subtle.encrypt(settings(iv, context), key as CryptoKey, plain as BufferSource);
      return { iv, sealed: new Uint8Array(sealed) };
    },
    async open(key, { iv, sealed }, context) {
      return new Uint8Array(await subtle.decrypt(settings(iv, context), key as CryptoKey, sealed as BufferSource));
    },
  };
}
