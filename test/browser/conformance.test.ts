import { describe, expect, it } from "vitest";
import { describeConformance } from "../../src/conformance.js";
import { indexedDbStorage } from "../../src/indexeddb.js";

describeConformance(
  "IndexedDB of the browser",
  async () => ({
    storage: indexedDbStorage(),
    reopen: async () => indexedDbStorage(),
    dispose: async () => {
      for (const { name } of await indexedDB.databases()) await deleted(name as string);
    },
  }),
  { describe, it, expect },
);

function deleted(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = () => resolve();
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error(`${name} is still open`));
  });
}
