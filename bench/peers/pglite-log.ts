import { PGlite } from "@electric-sql/pglite";
import { deleteBare } from "../bare.js";
import { EVENT_TYPE, type Log, PAYLOAD, processRow } from "../ways/log.js";

interface Queries {
  query(text: string, values: unknown[]): Promise<{ rows: { state: string; last_sequence: number }[] }>;
}

/** Postgres over IndexedDB. A commit resolves when its pages are stored, with the browser's default durability. */
export async function pgliteLog(name: string, processIds: readonly string[]): Promise<Log> {
  const database = await PGlite.create(`idb://${name}`);
  await database.exec(`
    create table processes (process_id text primary key, state text not null, last_sequence int not null, rest jsonb not null);
    create table events (process_id text, sequence int, event_type text, payload jsonb, occurred_at_ms bigint, primary key (process_id, sequence));
  `);
  const start = (processId: string, lastSequence: number) =>
    database.query(
      "insert into processes values ($1, 'running', $2, $3) on conflict (process_id) do update set last_sequence = $2",
      [processId, lastSequence, processRow(processId)],
    );
  for (const processId of processIds) await start(processId, 0);
  return {
    append: (processId) =>
      database.transaction(async (transaction: Queries) => {
        const { rows } = await transaction.query("select state, last_sequence from processes where process_id = $1", [processId]);
        const [row] = rows;
        if (row?.state !== "running") throw new Error("the process is unknown or has ended");
        const sequence = row.last_sequence + 1;
        await transaction.query("update processes set last_sequence = $2 where process_id = $1", [processId, sequence]);
        await transaction.query("insert into events values ($1, $2, $3, $4, $5)", [
          processId,
          sequence,
          EVENT_TYPE,
          PAYLOAD,
          Date.now(),
        ]);
      }),
    async after(processId, sequence, limit) {
      const found = await database.query(
        "select * from events where process_id = $1 and sequence > $2 order by sequence limit $3",
        [processId, sequence, limit],
      );
      return found.rows;
    },
    async fill(processId, count) {
      await start(processId, count);
      await database.query("insert into events select $1, at, $2, $3, $4 from generate_series(1, $5::int) at", [
        processId,
        EVENT_TYPE,
        PAYLOAD,
        Date.now(),
        count,
      ]);
    },
    async close() {
      await database.close();
      await deleteBare(`/pglite/${name}`);
    },
  };
}
