// Processes that no host can run: what is told of them, and what becomes of those that were asked to cancel.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import { rounds } from "../kernel/rounds.js";
import { buildTown, type Town, type TownHost } from "./town.js";

const { sweepMs } = DEFAULT_TIMINGS;

let town: Town;
beforeEach(() => {
  town = buildTown();
});
afterEach(() => town.close());

const task = (name: string) => ({ input: { type: "task" as const, name } });

async function sweeps(count: number): Promise<void> {
  for (let swept = 0; swept < count; swept++) {
    await town.clock.advance(sweepMs);
    await rounds();
  }
}

const toldBy = ({ faults }: TownHost) => faults.filter(({ area }) => area === "handlers");

describe("a process whose handler no host has", () => {
  const told = {
    area: "handlers",
    code: "not-found",
    message: 'processes wait for the handler "missing", which no host of this database has',
    processId: "p",
  };

  it("is told by each host, once for the handler, after one sweepMs (A-22)", async () => {
    const a = await town.host("a", { handlers: { other: () => 1 } });
    const b = await town.host("b");
    await a.kernel.start({ id: "p", ...task("missing") });
    await a.kernel.start({ id: "q", ...task("missing") });
    await rounds();
    expect([toldBy(a), toldBy(b)]).toEqual([[], []]);
    await sweeps(2);
    expect([toldBy(a), toldBy(b)]).toEqual([[told], [told]]);
    await sweeps(3);
    expect([toldBy(a), toldBy(b)]).toEqual([[told], [told]]);
  });

  it("is not told while another host has it, and is once that is gone (A-22)", async () => {
    const a = await town.host("a");
    const b = await town.host("b", { handlers: { missing: () => new Promise<never>(() => {}) } });
    await a.kernel.start({ id: "p", ...task("missing") });
    await sweeps(3);
    expect(toldBy(a)).toEqual([]);
    b.die();
    await rounds(30);
    await sweeps(3);
    expect(toldBy(a)).toEqual([told]);
  });

  it("is not told, nor ended, beside a host of an older version, which may have it (A-22, A-26)", async () => {
    await town.put("hosts", { v: 1, bootId: "old", hostId: "old", lastSeenAtMs: town.clock.now() });
    const a = await town.host("a");
    await (await a.kernel.start({ id: "p", ...task("missing") })).cancel();
    const sweepsUntilStale = Math.floor(DEFAULT_TIMINGS.staleAfterMs / sweepMs) - 1;
    await sweeps(sweepsUntilStale);
    expect(toldBy(a)).toEqual([]);
    expect((await a.kernel.processes.getProcess("p"))?.status.state).toBe("running");
    await sweeps(4);
    expect((await a.kernel.processes.getProcess("p"))?.status.state).toBe("cancelled");
  });

  it("is not told while a claim by hand holds it, by any host (A-22)", async () => {
    const hosts = [await town.host("a"), await town.host("b")] as const;
    const { processes } = hosts[0].kernel;
    await hosts[0].kernel.start({ id: "p", ...task("missing") });
    const lease = await processes.claimProcessLease("p", "by hand", 100 * sweepMs);
    await sweeps(4);
    expect(hosts.map(toldBy)).toEqual([[], []]);
    await processes.completeProcessLease(lease);
    await sweeps(3);
    expect(hosts.map(toldBy)).toEqual([[told], [told]]);
  });

  it("is not told for a session that is not open, nor for an external process (A-22)", async () => {
    const a = await town.host("a");
    await a.kernel.start({ id: "turn", input: { type: "session_turn", sessionId: "s", input: null } });
    await a.kernel.start({ id: "outside", input: { type: "external", metadata: null } });
    await sweeps(3);
    expect(toldBy(a)).toEqual([]);
  });
});

describe("a process that was asked to cancel", () => {
  it("is left to the host that has its handler, however busy that is (A-26)", async () => {
    const b = await town.host("b", { handlers: { job: () => new Promise<never>(() => {}) }, concurrency: 1 });
    await b.kernel.start({ id: "first", ...task("job") });
    await rounds();
    const a = await town.host("a");
    await (await a.kernel.start({ id: "p", ...task("job") })).cancel();
    await sweeps(3);
    expect((await a.kernel.processes.getProcess("p"))?.status.state).toBe("running");
  });

  it("does not wait for a host that runs nothing (A-26)", async () => {
    const off = await town.host("off", { loop: "off", handlers: { missing: () => 1 } });
    await off.kernel.agent("an agent");
    const a = await town.host("a");
    await (await a.kernel.start({ id: "p", ...task("missing") })).cancel("no");
    await sweeps(1);
    expect((await a.kernel.processes.getProcess("p"))?.status).toEqual({
      state: "cancelled",
      awaitOutput: { type: "cancelled", message: "no" },
    });
  });

  it("is ended once by any number of hosts that see it (A-26)", async () => {
    const hosts = await Promise.all(["a", "b", "c"].map((name) => town.host(name)));
    const [a] = hosts as [TownHost, ...TownHost[]];
    await (await a.kernel.start({ id: "p", ...task("missing") })).cancel();
    await sweeps(2);
    const types = (await a.kernel.processes.eventsAfter("p", 0)).map(({ eventType }) => eventType);
    expect(types).toEqual(["process.cancel_requested", "process.cancelled"]);
    expect(hosts.flatMap(({ faults }) => faults)).toEqual([]);
  });
});

describe("retention of external processes that still run", () => {
  const external = { input: { type: "external" as const, metadata: null } };
  const idsOf = async () => (await town.rows("processes")).map(({ processId }) => processId);

  it("takes those that were not written to for so long, and no others (A-34)", async () => {
    const a = await town.host("a", { retention: { externalProcessesMs: 10 * sweepMs } });
    for (const id of ["idle", "written", "granted"]) await a.kernel.start({ id, ...external });
    await a.kernel.start({ id: "task", ...task("missing") });
    await a.kernel.processes.grantHandle({ sessionId: "root" }, "granted", {});
    await sweeps(5);
    await a.kernel.processes.setExternalRef("written", { backend: "b", id: "1" });
    await sweeps(4);
    expect(await idsOf()).toEqual(["granted", "idle", "task", "written"]);
    await sweeps(2);
    expect(await idsOf()).toEqual(["granted", "task", "written"]);
    await a.kernel.process("written").cancel();
    await sweeps(8);
    expect(await idsOf()).toEqual(["granted", "task", "written"]);
    await sweeps(3);
    expect(await idsOf()).toEqual(["granted", "task"]);
  });

  it("is none by default, and leaves ended ones to terminalProcessesMs (A-34)", async () => {
    const a = await town.host("a", { retention: { externalProcessesMs: 1 } });
    await a.kernel.start({ id: "ended", ...external });
    await a.kernel.processes.completeProcess("ended", { type: "success", value: 1 });
    await sweeps(3);
    expect(await idsOf()).toEqual(["ended"]);
    await a.kernel.close();
    const b = await town.host("b", { retention: { terminalProcessesMs: 1 } });
    await b.kernel.start({ id: "runs", ...external });
    await sweeps(10);
    expect(await idsOf()).toEqual(["runs"]);
  });
});
