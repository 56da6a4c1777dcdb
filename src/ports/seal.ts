/** A key as the adapter makes it. The storage keeps it by structured clone. Its bytes cannot be read. */
export type SealingKey = unknown;

/**
 * An app's own place for the key that secrets and logins are sealed with: a file, the operating system's keychain, a device. One key
 * may serve many databases. It is asked at each use, and never outside of one.
 */
export interface KeyStore {
  /** `undefined`: there is none yet. Bytes are 32, for AES-GCM; a `CryptoKey` is of AES-GCM, and may encrypt and decrypt. */
  load(): Promise<CryptoKey | Uint8Array | undefined>;
  /**
   * Keeps a new key; later calls of `load`, in every kernel, must give it. holdfast makes the key and passes its 32 bytes, since a key
   * that cannot be exported fits into no file. A store that wants a `CryptoKey` makes one of them (`crypto.subtle.importKey`).
   */
  store(key: CryptoKey | Uint8Array): Promise<void>;
}

export interface SealedBytes {
  readonly iv: Uint8Array;
  readonly sealed: Uint8Array;
}

/** Authenticated encryption of bytes. `context` is not stored: bytes that are sealed under one context open under no other. */
export interface Seal {
  newKey(): Promise<SealingKey>;
  /** A new key's bytes, for a key store. */
  newKeyBytes(): Uint8Array;
  /** The key that a key store gave. Rejects `invalid` for anything else. */
  keyOf(loaded: unknown): Promise<SealingKey>;
  seal(key: SealingKey, plain: Uint8Array, context: string): Promise<SealedBytes>;
  /** Rejects where the key, the context or any of the bytes differs. */
  open(key: SealingKey, sealed: SealedBytes, context: string): Promise<Uint8Array>;
}
