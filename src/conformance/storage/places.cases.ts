import type { HoldfastError } from "../../domain/errors.js";
import type { KernelStorage, StorageState } from "../../ports/storage.js";
import { type OpenFixture, type Runner, refused, uniqueName } from "../kit/fixture.js";
import { OPENING } from "../kit/rows.fixture.js";
import { casesOver, FIRST, put, range, write } from "./storage.fixture.js";

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

  const over = casesOver(open, it);

  over(
    "what is removed is gone: its connections are told and end, and the next opening makes another database (A-29)",
    async (place) => {
      const storage = await place.reopen();
      if (!storage.remove) return;
      const told: unknown[] = [];
      const onState = (state: StorageState, why?: HoldfastError) => told.push([state, why?.code]);
      const first = await place.connect({ onState, newDatabaseId: "first" }, storage);
      const second = await place.connect({ onState }, storage);
      await write(first, [put("notes", { v: 1, id: "a" })]);
      told.length = 0;
      const id = await storage.remove(place.name);
      expect(id === undefined || id === "first").toBe(true);
      expect(told).toEqual([
        ["lost", "unavailable"],
        ["lost", "unavailable"],
      ]);
      for (const connection of [first, second]) await refused(range(connection, "notes"), "unavailable");
      await refused(place.connect({ databaseId: "first" }, storage), "unavailable");
      const made = await place.connect({ newDatabaseId: "second" }, storage);
      expect([made.databaseId, await range(made, "notes")]).toEqual(["second", []]);
      for (const connection of [first, second]) await refused(range(connection, "notes"), "unavailable");
    },
  );

  over("a storage that says that it keeps keys gives one back that works and cannot be exported (A-30)", async (place) => {
    const subtle = (globalThis as { crypto?: Partial<Crypto> }).crypto?.subtle;
    const storage = await place.reopen();
    if (!storage.keepsKeys || !subtle) return;
    const key = await subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    const plain = Uint8Array.of(1, 2, 3);
    const how = { name: "AES-GCM", iv: new Uint8Array(12) };
    const sealed = await subtle.encrypt(how, key, plain);
    const first = await place.connect({}, storage);
    await write(first, [put("notes", { v: 1, id: "a", key })]);
    await first.close();
    const later = await place.connect({}, await place.reopen());
    const [row] = await range(later, "notes");
    const kept = row?.key as CryptoKey;
    expect([kept.extractable, new Uint8Array(await subtle.decrypt(how, kept, sealed))]).toEqual([false, plain]);
  });

  over("removing one name touches no other, and what was never there is removed without making it (A-29)", async (place) => {
    const storage = await place.reopen();
    if (!storage.remove) return;
    const kept = await place.connect({}, storage);
    await write(kept, [put("notes", { v: 1, id: "a" })]);
    const never = uniqueName();
    await storage.remove(never);
    await refused(place.connect({ name: never, databaseId: "any" }, storage), "unavailable");
    expect((await range(kept, "notes")).map(({ id }) => id)).toEqual(["a"]);
  });
}
