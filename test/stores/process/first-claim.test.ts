// A host registers a process and claims it in one write.
import { describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { broadcastNotices } from "../../../src/corridor/notices.js";
import { createCorridor } from "../../../src/corridor/run.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import { claimProcessLease } from "../../../src/stores/process/leases.js";
import { registerProcess } from "../../../src/stores/process/processes.js";
import { prepared } from "../../../src/stores/process/processes.rules.js";
import { registerAndClaim } from "../../../src/stores/process/runs/first-claim.js";
import { SCHEMA, TABLES } from "../../../src/stores/schema.js";
import { probe } from "../probe-storage.js";

const provenance = { ownerScope: { sessionId: "root" }, hostProfileId: "default" };
const registration = (id: string, name = "job") => prepared({ id, input: { type: "task", name }, eventTypes: [], provenance });
const claim = { ownerId: "a:1", ttlMs: 30_000, nonce: "n", host: { hostId: "a", bootId: "boot", locked: true } };

async function house() {
  const probed = probe(memoryStorage());
  const storage = await probed.storage.open({
    name: "claims",
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "claims",
    onState: () => {},
  });
  const corridor = createCorridor({
    storage,
    tables: TABLES,
    notices: broadcastNotices("claims", undefined),
    clock: manualClock(),
  });
  const leases = () => corridor.query(["leases"], (reader) => reader.range("leases", {}));
  return { probed, corridor, leases };
}

describe("a claim with a registration", () => {
  it("is granted with it, and both are one write", async () => {
    const { corridor, probed, leases } = await house();
    const started = await corridor.run(registerAndClaim, { register: { registration: registration("p") }, claim });
    expect(started.record.status).toEqual({ state: "running" });
    expect(started.claim).toMatchObject({ lease: { processId: "p", fencingToken: 1, ownerId: "a:1" }, fruitless: 0 });
    expect(started.claim?.process).toMatchObject({ processId: "p", handler: "job", lastSequence: 0 });
    expect(probed.seen.filter(({ mode }) => mode === "write")).toHaveLength(1);
    expect(await leases()).toMatchObject([{ resource: "p", bootId: "boot", locked: 1 }]);
  });

  it("falls with a registration that is refused, also of a process that is free", async () => {
    const { corridor, leases } = await house();
    await corridor.run(registerProcess, { registration: registration("p", "another") });
    const refused = corridor.run(registerAndClaim, { register: { registration: registration("p") }, claim });
    await expect(refused).rejects.toMatchObject({ code: "conflict" });
    expect(await leases()).toEqual([]);
  });

  it("falls with a child whose parent's owner has lost its lease", async () => {
    const { corridor, leases } = await house();
    await corridor.run(registerProcess, { registration: registration("parent") });
    const held = await corridor.run(claimProcessLease, { processId: "parent", ownerId: "b:1", ttlMs: 30_000, nonce: "old" });
    await corridor.run(claimProcessLease, { processId: "parent", ownerId: "b:1", ttlMs: 30_000, nonce: "new" });
    const register = { registration: registration("child"), lease: held.lease };
    await expect(corridor.run(registerAndClaim, { register, claim })).rejects.toMatchObject({ code: "lease-lost" });
    expect((await leases()).map(({ resource }) => resource)).toEqual(["parent"]);
  });

  it.each(["free", "held by another"])("is none where the process is known and %s", async (how) => {
    const { corridor, leases } = await house();
    await corridor.run(registerProcess, { registration: registration("p") });
    if (how !== "free") await corridor.run(claimProcessLease, { processId: "p", ownerId: "b:1", ttlMs: 30_000, nonce: "b" });
    const before = await leases();
    const started = await corridor.run(registerAndClaim, { register: { registration: registration("p") }, claim });
    expect(started.record.id).toBe("p");
    expect(started.claim).toBeUndefined();
    expect(await leases()).toEqual(before);
  });

  it("is the same one again where its first commit was not heard of", async () => {
    const { corridor, probed, leases } = await house();
    let lost = false;
    probed.hooks.done = ({ mode }) => {
      if (lost || mode !== "write") return;
      lost = true;
      throw new HoldfastError("unavailable", "the connection was lost", { details: { outcome: "unknown" } });
    };
    const started = await corridor.run(registerAndClaim, { register: { registration: registration("p") }, claim });
    expect(lost).toBe(true);
    expect(started.claim?.lease).toMatchObject({ fencingToken: 1, leaseToken: "n.1" });
    expect(await leases()).toMatchObject([{ fencingToken: 1 }]);
  });
});
