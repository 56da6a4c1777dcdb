import { createStore, set } from "idb-keyval";
import localforage from "localforage";
import { deleteBare } from "../bare.js";

export interface Snapshots {
  put(id: string, value: unknown): Promise<unknown>;
  close(): Promise<void>;
}

/** idb-keyval does not ask for strict durability, and has no option for it. */
export function idbKeyval(name: string): Snapshots {
  const store = createStore(name, "snapshots");
  return { put: (id, value) => set(id, value, store), close: async () => {} };
}

/** localForage does not ask for strict durability, and has no option for it. */
export function localForage(name: string): Snapshots {
  const store = localforage.createInstance({ name, driver: localforage.INDEXEDDB });
  return {
    put: (id, value) => store.setItem(id, value),
    async close() {
      await store.dropInstance({ name });
      await deleteBare(name);
    },
  };
}
