import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { describe, expect, it } from "vitest";
import { describeConformance } from "../../src/conformance.js";
import { indexedDbStorage } from "../../src/indexeddb.js";

describeConformance(
  "IndexedDB in memory",
  async () => {
    const indexedDB = new IDBFactory();
    const at = () => indexedDbStorage({ indexedDB, IDBKeyRange });
    return { storage: at(), reopen: async () => at(), dispose: async () => undefined };
  },
  { describe, it, expect },
);
