/** Whatever the adapter makes of it; the storage keeps it by structured clone, and nobody can read what it is made of. */
export type SealingKey = unknown;

export interface SealedBytes {
  readonly iv: Uint8Array;
  readonly sealed: Uint8Array;
}

/** Authenticated encryption of plain bytes. `context` is not stored: what was sealed under one opens under no other. */
export interface Seal {
  newKey(): Promise<SealingKey>;
  seal(key: SealingKey, plain: Uint8Array, context: string): Promise<SealedBytes>;
  /** Rejects where the key, the context or any of the bytes is another. */
  open(key: SealingKey, sealed: SealedBytes, context: string): Promise<Uint8Array>;
}
