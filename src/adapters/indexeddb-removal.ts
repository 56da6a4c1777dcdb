import { HoldfastError } from "../domain/errors.js";
import { answered, guardIdIn, readGuard, unusable } from "./indexeddb-connection.js";

/**
 * Deletes a database of holdfast's, of any version, and gives its id; undefined where there was none. The browser asks the other
 * connections to close, and deletes when the last one has.
 */
export async function removeDatabase(factory: IDBFactory, name: string, mostMs: number): Promise<string | undefined> {
  let isOver = false;
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => {
      isOver = true;
      const details = { reason: "remove-timeout", outcome: "unknown" };
      reject(new HoldfastError("unavailable", `deleting the database ${name} took longer than ${mostMs} ms`, { details }));
    }, mostMs);
    cancel = () => clearTimeout(timer);
  });

  async function remove(): Promise<string | undefined> {
    const databaseId = await storedIdOf(factory, name);
    if (databaseId === undefined || isOver) return undefined;
    await new Promise<unknown>((resolve, reject) => answered(factory.deleteDatabase(name), resolve, reject));
    return databaseId;
  }

  try {
    return await Promise.race([remove(), late]);
  } finally {
    cancel();
  }
}

/** The id in the guard row. A database without that row is another program's, and is left alone. */
async function storedIdOf(factory: IDBFactory, name: string): Promise<string | undefined> {
  const database = await openAsItIs(factory, name);
  if (!database) return undefined;
  try {
    database.onversionchange = () => database.close();
    const id = guardIdIn(await readGuard(database));
    if (id === undefined) throw unusable(name, "foreign");
    return id;
  } finally {
    database.close();
  }
}

/** Without a version the browser opens what is there, and makes what is not: that is undone. */
function openAsItIs(factory: IDBFactory, name: string): Promise<IDBDatabase | undefined> {
  return new Promise((resolve, reject) => {
    const request = factory.open(name);
    let isMade = false;
    request.onupgradeneeded = () => {
      isMade = true;
      request.transaction?.abort();
    };
    answered(request, resolve, (error) => (isMade ? resolve(undefined) : reject(error)));
  });
}
