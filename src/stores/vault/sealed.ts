import { accept, type Command } from "../../corridor/command.js";
import type { SealingKey } from "../../ports/seal.js";
import type { Reader } from "../../ports/storage.js";
import { loadFloor, raiseFloor } from "../host/floors.js";
import { loadRow } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import type { SealedRow, SealingKeyRow } from "./tables.js";

/** Records arrive here sealed. Only the vault knows what is in them. */
export const SEALED_TABLES = ["sealed", "sealingKeys", "floors"] as const;

/** One key per database. */
const KEY = "records";

/** What is stored of a record beside its name and revision. */
export type SealedContent = Pick<SealedRow, "iv" | "sealed" | "plain">;

/** The first stored key is the key. A caller with another key gets the stored one. */
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
  /** The revision that this content was made from, or the floor if there was no record. */
  revision: number;
  content: SealedContent;
}

/** Compare and set. Replies false if another revision is stored by now. */
export const putSealed: Command<PutSealed, number, boolean> = {
  tables: ["sealed", "floors"],
  load: async (reader, { name }) => (await loadRow(reader, "sealed", name))?.revision ?? (await loadFloor(reader, "sealed")),
  decide(stored, { name, revision, content }) {
    if (stored !== revision) return accept(false);
    const put = { v: ROW_VERSION, name, revision: revision + 1, ...content };
    return accept(true, [{ table: "sealed", put }], [{ about: "sealed", id: name }]);
  },
};

/** Drops a record, even one that does not decode. The floor rises above its revision, so that a change made from an earlier read is refused. */
export const dropSealed: Command<{ name: string }, { revisions: number[]; floor: number }, void> = {
  tables: ["sealed", "floors"],
  async load(reader, { name }) {
    const [row, floor] = await Promise.all([reader.get("sealed", name), loadFloor(reader, "sealed")]);
    return { revisions: Number.isSafeInteger(row?.revision) ? [Number(row?.revision) + 1] : [], floor };
  },
  decide: ({ revisions, floor }, { name }) =>
    accept(
      undefined,
      [{ table: "sealed", drop: name }, ...raiseFloor("sealed", floor, revisions)],
      [{ about: "sealed", id: name }],
    ),
  repeatable: () => true,
};

/** Whether a record of another name is sealed: a new key would not open it. */
export async function isOtherSealed(reader: Reader, name: string): Promise<boolean> {
  const rows = await reader.range("sealed", { limit: 2 });
  return rows.some((row) => row.name !== name && row.plain === undefined);
}

/** A record and the key, read at one moment. `revision` is what the next content is made from. */
export async function readSealed(reader: Reader, name: string): Promise<{ row?: SealedRow; revision: number; key?: SealingKey }> {
  const [row, kept] = await Promise.all([loadRow(reader, "sealed", name), loadRow(reader, "sealingKeys", KEY)]);
  const revision = row?.revision ?? (await loadFloor(reader, "sealed"));
  return { ...(row && { row }), revision, ...(kept && { key: kept.key }) };
}
