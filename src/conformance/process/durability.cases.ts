import type { ProcessEventType } from "../../domain/process/event-type.js";
import type { ProcessRegistry } from "../../kernel/process/registry.js";
import { createKernel } from "../../platform.js";
import {
  cancelled,
  casesOn,
  count,
  failure,
  type OpenFixture,
  type Runner,
  readAll,
  refused,
  SCOPES,
  success,
  task,
  uniqueName,
} from "../kit/fixture.js";

const TTL = 60_000;
const TYPES: ProcessEventType[] = [
  { name: "note", payloadSchema: { type: ["string", "object", "null"], maxLength: 10 } },
  { name: "wake", semantics: { wake: { input: "payload", dedupeKey: { const: "k" } } } },
];

/** The state after close and reopen, and after a refused call. */
export function durabilityCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);

  runner.it("a kernel on an opened place finds nothing of another place, also under a name that was used before", async () => {
    const options = { name: uniqueName(), loop: "off", channel: false, locks: false } as const;
    for (const id of ["first", "second"]) {
      const place = await open();
      try {
        const kernel = await createKernel({ ...options, storage: place.storage });
        try {
          expect([await kernel.processes.list(), await kernel.sessions.list()]).toEqual([[], []]);
          await kernel.processes.registerProcess(task(id));
          await kernel.session(id);
          expect((await kernel.processes.list()).map((process) => process.id)).toEqual([id]);
        } finally {
          await kernel.close();
        }
      } finally {
        await place.dispose();
      }
    }
  });

  /** One of everything: in `p`, which runs on, and in processes that ended. */
  async function fill(processes: ProcessRegistry) {
    const provenance = { ownerScope: SCOPES.frame, hostProfileId: "h", causedBy: { type: "turn" as const, id: "t" } };
    await processes.registerProcess({
      id: "p",
      input: { type: "external", metadata: { deep: [null, "ü\u{1f600}"] } },
      eventTypes: TYPES,
      provenance,
    });
    for (const [id, output] of [
      ["done", success({ a: 1 })],
      ["failed", failure("no")],
      ["cancelled", cancelled("stop")],
    ] as const) {
      await processes.registerProcess(task(id));
      await processes.completeProcess(id, output);
      await processes.grantHandle(SCOPES.one, id, { label: id });
    }
    await processes.setExternalRef("p", { backend: "b", id: "1", metadata: { x: [] } });
    await processes.grantHandle(SCOPES.two, "p", { kind: "k", label: "l" });
    await processes.grantHandle(SCOPES.frame, "p", {});
    const note = await processes.appendEvent("p", { eventType: "note", payload: { b: 1, a: [2] }, replayKey: "note" });
    const wake = await processes.appendEvent("p", {
      eventType: "wake",
      payload: "up",
      replayKey: "wake",
      wakeTarget: SCOPES.frame,
    });
    await processes.appendEvent("p", { eventType: "wake", payload: "acknowledged", wakeTarget: SCOPES.one });
    await processes.ackWake("p", 3);
    await processes.claimProcessLease("p", "owner", TTL);
    const lease = await processes.claimProcessLease("p", "owner", TTL);
    return { note, wake, lease };
  }

  promise("everything that was stored is read again after close and reopen (P-56)", async ({ processes, restart }) => {
    await fill(processes);
    const before = await readAll(processes);
    const reopened = await restart();
    expect(await readAll(reopened)).toEqual(before);
    expect(await readAll(await restart())).toEqual(before);
  });

  promise("lists keep their filters and order after reopen (P-56)", async ({ processes, restart }) => {
    await fill(processes);
    const read = async (from: ProcessRegistry) => [
      await from.list({ state: "failed" }),
      await from.list({ sessionId: "root", after: "done" }),
      await from.listLiveHandleGrants(SCOPES.two),
      await from.eventsAfter("p", 1, { limit: 1 }),
      await from.wakeEventsAfter("p", 1),
    ];
    const before = await read(processes);
    expect(await read(await restart())).toEqual(before);
  });

  promise(
    "replays find their event after reopen, with its delivery, and others still conflict (P-45, P-46, P-56)",
    async ({ processes, restart }) => {
      const { note, wake } = await fill(processes);
      const reopened = await restart();
      await changesNothing(reopened, async () => {
        expect(await reopened.appendEvent("p", { eventType: "note", payload: { a: [2], b: 1 }, replayKey: "note" })).toEqual(
          note,
        );
        expect(await reopened.appendEvent("p", { eventType: "wake", payload: "up", replayKey: "wake" })).toEqual(wake);
        await refused(
          reopened.appendEvent("p", { eventType: "note", payload: "x", replayKey: "note" }),
          "conflict",
          "conflicts with an existing event",
        );
        await refused(reopened.completeProcess("done", success("other")), "conflict", "conflicts with an existing event");
        await refused(reopened.completeProcess("done", failure("other")), "terminal", "is already terminal");
        await refused(reopened.registerProcess(task("p")), "conflict", "registration hash conflict");
        await refused(reopened.appendEvent("p", { eventType: "note", payload: 5 }), "invalid", "note");
      });
      expect((await reopened.completeProcess("done", success({ a: 1 }))).id).toBe("done");
      expect(await reopened.awaitProcess("failed")).toEqual(failure("no"));
      expect((await reopened.waitEventAfter("p", "wake", 0)).sequence).toBe(2);
    },
  );

  promise("sequences and fences go on where they were after reopen (P-40, P-56, L-4)", async ({ processes, restart, clock }) => {
    await fill(processes);
    const reopened = await restart();
    expect((await reopened.appendEvent("p", { eventType: "note", payload: null })).event.sequence).toBe(4);
    await refused(reopened.claimProcessLease("p", "other", TTL), "lease-held", "is already leased by `owner`");
    await clock.advance(TTL);
    expect((await reopened.claimProcessLease("p", "other", TTL)).fencingToken).toBe(3);
  });

  promise("a lease, and its release, outlive the kernel that made them (L-6, L-8, P-56)", async ({ processes, restart }) => {
    const { lease } = await fill(processes);
    const second = await restart();
    expect(await second.renewProcessLease(lease, TTL)).toEqual(lease);
    await second.appendEvent("p", { eventType: "note", payload: "fenced", lease });
    await second.completeProcessLease(lease);
    const third = await restart();
    expect(await third.getLease("p")).toBe(undefined);
    await refused(third.appendEvent("p", { eventType: "note", payload: "fenced", lease }), "lease-lost", "missing or expired");
    const next = await third.claimProcessLease("p", "next", TTL);
    expect(next.fencingToken).toBe(3);
    await third.completeProcess("p", success(1), { lease: next });
    const fourth = await restart();
    expect([(await fourth.getProcess("p"))?.status.state, await fourth.getLease("p")]).toEqual(["completed", undefined]);
  });

  promise("revoked, moved and deleted grants stay so after reopen (P-21, P-26, P-30, P-56)", async ({ processes, restart }) => {
    await fill(processes);
    await processes.revokeHandle(SCOPES.one, "done");
    await processes.transferHandleGrants(SCOPES.one, SCOPES.two, ["failed"]);
    await processes.deleteSessionProcessState("one");
    const reopened = await restart();
    expect(await reopened.listHandleGrants(SCOPES.one)).toEqual([]);
    expect(await reopened.listHandleGrants(SCOPES.frame)).toEqual([]);
    const grants = (await reopened.listHandleGrants(SCOPES.two)).map(({ grant }) => grant);
    expect(grants).toEqual([
      { sessionId: "two", processId: "failed", descriptor: { label: "failed" } },
      { sessionId: "two", processId: "p", descriptor: { kind: "k", label: "l" } },
    ]);
  });

  promise("a refused call leaves nothing behind, now or after reopen (P-41, P-56)", async ({ processes, restart, clock }) => {
    const { lease } = await fill(processes);
    const before = await readAll(processes);
    await clock.advance(1);
    const stale = { ...lease, fencingToken: lease.fencingToken - 1 };
    const note = { eventType: "note", payload: "x" };
    const end = { eventType: "process.completed", payload: { awaitOutput: success(1) as never } };
    const calls: [code: Parameters<typeof refused>[1], call: () => Promise<unknown>][] = [
      ["conflict", () => processes.registerProcess(task("p"))],
      ["invalid", () => processes.registerProcess(task("new", { eventTypes: [{ name: "a" }, { name: "a" }] }))],
      ["not-found", () => processes.setExternalRef("nobody", { backend: "b", id: "1" })],
      ["not-found", () => processes.grantHandle(SCOPES.one, "nobody", {})],
      ["not-found", () => processes.transferHandleGrants(SCOPES.one, SCOPES.two, ["done", "failed", "p"])],
      ["not-found", () => processes.appendEvent("nobody", { ...note, replayKey: "n" })],
      ["invalid", () => processes.appendEvent("p", { ...note, payload: "much too long", replayKey: "k1" })],
      ["invalid", () => processes.appendEvent("p", { eventType: "wake", payload: "no target", replayKey: "k2" })],
      ["lease-lost", () => processes.appendEvent("p", { ...note, replayKey: "k3", lease: stale })],
      ["lease-lost", () => processes.completeProcess("p", success(1), { lease: stale })],
      ["invalid", () => processes.appendEvent("p", end)],
      ["invalid", () => processes.appendEvent("p", { eventType: "process.failed", payload: end.payload, replayKey: "k4" })],
      ["terminal", () => processes.appendEvent("done", { ...end, replayKey: "k5" })],
      ["lease-held", () => processes.claimProcessLease("p", "other", TTL)],
      ["terminal", () => processes.claimProcessLease("done", "other", TTL)],
      ["lease-lost", () => processes.renewProcessLease(stale, TTL)],
    ];
    for (const [code, call] of calls) await refused(call(), code);
    expect(await readAll(processes)).toEqual(before);
    const reopened = await restart();
    expect(await readAll(reopened)).toEqual(before);
    for (const [at, replayKey] of ["k1", "k2", "k3", "k4"].entries()) {
      expect((await reopened.appendEvent("p", { ...note, replayKey })).event.sequence).toBe(4 + at);
    }
  });

  promise(
    "of calls that are under way at close, each is stored and told so, or refused and not stored",
    async ({ kernel, processes, restart }) => {
      await processes.registerProcess(task("p", { eventTypes: TYPES }));
      const calls = count(30).map((n) =>
        n % 2
          ? processes.registerProcess(task(`p${n}`)).then(({ id }) => id)
          : processes.appendEvent("p", { eventType: "note", payload: `${n}` }).then(() => `${n}`),
      );
      const closing = kernel.close();
      const settled = await Promise.allSettled(calls);
      await closing;
      const told = settled.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      const codes = settled.flatMap((result) =>
        result.status === "rejected" ? [(result.reason as { code?: unknown }).code] : [],
      );
      expect(codes.filter((code) => code !== "closed")).toEqual([]);
      const reopened = await restart();
      const stored = [
        ...(await reopened.list()).map(({ id }) => id),
        ...(await reopened.eventsAfter("p", 0)).map(({ payload }) => payload),
      ];
      expect(stored.filter((name) => name !== "p").sort()).toEqual(told.sort());
    },
  );

  promise("a closed kernel refuses every call with `closed`, and closes again in peace", async ({ kernel, processes }) => {
    const { lease } = await fill(processes);
    await kernel.close();
    await kernel.close();
    const calls: (() => Promise<unknown>)[] = [
      () => processes.registerProcess(task("p")),
      () => processes.setExternalRef("p", { backend: "b", id: "1" }),
      () => processes.getProcess("p"),
      () => processes.list(),
      () => processes.listNonTerminal(),
      () => processes.grantHandle(SCOPES.one, "p", {}),
      () => processes.revokeHandle(SCOPES.one, "p"),
      () => processes.transferHandleGrants(SCOPES.one, SCOPES.two, ["p"]),
      () => processes.listHandleGrants(SCOPES.one),
      () => processes.listLiveHandleGrants(SCOPES.one),
      () => processes.hasHandleGrant(SCOPES.one, "p"),
      () => processes.handleGrantsForProcess("p"),
      () => processes.deleteSessionProcessState("one"),
      () => processes.appendEvent("p", { eventType: "note", payload: null }),
      () => processes.eventsAfter("p", 0),
      () => processes.wakeEventsAfter("p", 0),
      () => processes.waitEventAfter("p", "note", 0),
      () => processes.awaitProcess("p"),
      () => processes.completeProcess("p", success(1)),
      () => processes.ackWake("p", 2),
      () => processes.getLease("p"),
      () => processes.claimProcessLease("p", "a", TTL),
      () => processes.renewProcessLease(lease, TTL),
      () => processes.completeProcessLease(lease),
    ];
    for (const call of calls) await refused(call(), "closed");
  });
}
