import { bytes, maybe, opaque, type RowOf, table, text, whole } from "../table.js";

export const sealingKeys = table("sealingKeys", {
  key: ["name"],
  columns: {
    name: text,
    /** Not extractable: the browser keeps it, and no program can read it. */
    key: opaque,
  },
});
export type SealingKeyRow = RowOf<typeof sealingKeys>;

/** Either sealed, or plain where the storage is memory and nothing reaches a disk. */
export const sealed = table("sealed", {
  key: ["name"],
  columns: { name: text, revision: whole, iv: maybe(bytes), sealed: maybe(bytes), plain: maybe(bytes) },
});
export type SealedRow = RowOf<typeof sealed>;
