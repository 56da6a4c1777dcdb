import type { SealingKey } from "../ports/seal.js";
import type { Reader } from "../ports/storage.js";
import { accept, type Command } from "./command.js";
import { loadRow, ROW_VERSION, type SealedRow, type SealingKeyRow } from "./schema.js";

/** Records that are sealed before they get here. What is in them only the vault knows. */
export const SEALED_TABLES = ["sealed", "sealingKeys"] as const;

/** One key per database. */
const KEY = "records";

/** What is stored of a record, beside its name and revision. */
export type SealedContent = Pick<SealedRow, "iv" | "sealed" | "plain">;

/** The first key that is kept is the key, also for whoever came with another one. */
export const putKeyIfAbsent: Command<{ key: SealingKey }, SealingKeyRow | undefined, SealingKey> = {
  tables: ["sealingKeys"],
  load: (reader) => loadRow(reader, "sealingKeys", KEY),
  decide(row, { key }) {
    if (row) return accept(row.key);
    return accept(key, [{ table: "sealingKeys", put: { v: ROW_VERSION, name: KEY, key } }]);
  },
  repeatable: () => true,
};

interface PutSealed {
  name: string;
  /** The one that this content was made from; 0 where there was none. */
  revision: number;
  content: SealedContent;
}

/** Compare and set: false where another revision is stored by now. */
export const putSealed: Command<PutSealed, SealedRow | undefined, boolean> = {
  tables: ["sealed"],
  load: (reader, { name }) => loadRow(reader, "sealed", name),
  decide(row, { name, revision, content }) {
    if ((row?.revision ?? 0) !== revision) return accept(false);
    const put = { v: ROW_VERSION, name, revision: revision + 1, ...content };
    return accept(true, [{ table: "sealed", put }], [{ about: "sealed", id: name }]);
  },
};

export const dropSealed: Command<{ name: string }, void, void> = {
  tables: ["sealed"],
  load: async () => undefined,
  decide: (_, { name }) => accept(undefined, [{ table: "sealed", drop: name }], [{ about: "sealed", id: name }]),
  repeatable: () => true,
};

/** A record and the key, of one moment. */
export async function readSealed(reader: Reader, name: string): Promise<{ row?: SealedRow; key?: SealingKey }> {
  const [row, kept] = await Promise.all([loadRow(reader, "sealed", name), loadRow(reader, "sealingKeys", KEY)]);
  return { ...(row && { row }), ...(kept && { key: kept.key }) };
}
