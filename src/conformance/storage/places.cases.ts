import type { KernelStorage } from "../../ports/storage.js";
import { type OpenFixture, type Runner, uniqueName } from "../kit/fixture.js";
import { OPENING } from "../kit/rows.fixture.js";
import { FIRST, put, range, write } from "./storage.fixture.js";

/** The storages that `open` gives: every other case relies on them. */
export function placeCases(open: OpenFixture, { it, expect }: Runner): void {
  it("each opened place is empty, also under a name that was used before, and reopens with what it held", async () => {
    const name = uniqueName();
    for (const id of ["first", "second"]) {
      const place = await open();
      try {
        const list = async (storage: KernelStorage, id?: string) => {
          const connection = await storage.open({ ...OPENING, schema: FIRST, name });
          try {
            if (id !== undefined) await write(connection, [put("notes", { v: 1, id })]);
            return (await range(connection, "notes")).map((note) => note.id);
          } finally {
            await connection.close();
          }
        };
        expect(await list(place.storage)).toEqual([]);
        expect(await list(place.storage, id)).toEqual([id]);
        expect(await list(await place.reopen())).toEqual([id]);
      } finally {
        await place.dispose();
      }
    }
  });
}
