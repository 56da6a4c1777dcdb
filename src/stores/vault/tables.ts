import { bytes, maybe, opaque, type RowOf, table, text, whole } from "../table.js";

export const sealingKeys = table("sealingKeys", {
  key: ["name"],
  columns: {
    name: text,
    /** Not extractable: the browser keeps its bytes, and no script can read them. */
    key: opaque,
  },
});
export type SealingKeyRow = RowOf<typeof sealingKeys>;

/** A record is sealed. It is plain only if the storage is memory, where nothing reaches a disk. */
export const sealed = table("sealed", {
  key: ["name"],
  columns: { name: text, revision: whole, iv: maybe(bytes), sealed: maybe(bytes), plain: maybe(bytes) },
});
export type SealedRow = RowOf<typeof sealed>;
