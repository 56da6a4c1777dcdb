import { expect, it } from "vitest";
import { createKernel } from "../../src/index.js";

it("says what the browser promised of the origin's data", async () => {
  const kernel = await createKernel({ name: "holdfast-status-test", loop: "off" });
  try {
    const status = await kernel.status();
    expect(status).toMatchObject({ storage: "indexeddb", durability: "strict", persisted: await navigator.storage.persisted() });
    expect(status.quotaBytes).toBeGreaterThan(0);
  } finally {
    await kernel.close();
  }
});
