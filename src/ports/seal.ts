/** A key as the adapter makes it. The storage keeps it by structured clone. Its bytes cannot be read. */
export type SealingKey = unknown;

export interface SealedBytes {
  readonly iv: Uint8Array;
  readonly sealed: Uint8Array;
}

/** Authenticated encryption of bytes. `context` is not stored: bytes that are sealed under one context open under no other. */
export interface Seal {
  newKey(): Promise<SealingKey>;
  seal(key: SealingKey, plain: Uint8Array, context: string): Promise<SealedBytes>;
  /** Rejects where the key, the context or any of the bytes differs. */
  open(key: SealingKey, sealed: SealedBytes, context: string): Promise<Uint8Array>;
}
