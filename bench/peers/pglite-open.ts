import { PGlite } from "@electric-sql/pglite";
import { deleteBare } from "../bare.js";

export async function pgliteOpen(name: string) {
  const path = `idb://${name}`;
  const first = await PGlite.create(path);
  await first.exec("create table processes (process_id text primary key); insert into processes values ('p-0')");
  await first.close();
  return {
    async open(): Promise<() => unknown> {
      const database = await PGlite.create(path);
      await database.query("select * from processes where process_id = 'p-0'");
      return () => database.close();
    },
    drop: () => deleteBare(`/pglite/${name}`),
  };
}
