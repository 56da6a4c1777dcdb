import { describe, expect, it } from "vitest";
import { refusal } from "../../src/conformance/kit/fixture.js";
import { createKernel } from "../../src/index.js";
import { memoryStorage } from "../../src/memory.js";
import { secretsAtRest } from "../kernel/vault/secrets-at-rest.js";

describe("on the browser's IndexedDB", () => secretsAtRest({ indexedDB, IDBKeyRange }));

describe("with the browser's Web Locks", () => {
  const device = { target: { realm: "r", binding: "b" }, provider: "p", deviceCode: "the-device-code", expiresInMs: 60_000 };
  const inProgress = { code: "conflict", details: { reason: "DevicePollInProgress" } };

  it("one of all kernels polls for a device code, until it ends or its kernel is closed (R-168)", async () => {
    const storage = memoryStorage();
    const open = () => createKernel({ name: "polls", storage, loop: "off", channel: false });
    const [one, other] = [await open(), await open()];
    await one.auth.admitDevice(device);
    const first = await one.auth.pollDevice(device);
    expect(await refusal(other.auth.pollDevice(device))).toMatchObject(inProgress);
    const names = ((await navigator.locks.query()).held ?? [])
      .map(({ name }) => name ?? "")
      .filter((name) => name.includes(":poll:"));
    expect(names).toHaveLength(1);
    expect(names[0]).not.toContain(device.deviceCode);
    await first.finish();
    await other.auth.pollDevice(device);
    expect(await refusal(one.auth.pollDevice(device))).toMatchObject(inProgress);
    await other.close();
    await (await one.auth.pollDevice(device)).consume();
    await one.close();
  });
});
