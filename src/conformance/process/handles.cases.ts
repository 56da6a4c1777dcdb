import type { ProcessHandleGrant } from "../../domain/process/process.js";
import type { ProcessRegistry } from "../../kernel/process/registry.js";
import { cancelled, casesOn, count, type OpenFixture, type Runner, refused, SCOPES, success, task } from "../kit/fixture.js";

const { one, frame, two, root } = SCOPES;

/** Grants: which processes a session, or one frame of it, can see. */
export function handleCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);
  const ids = (entries: { grant: ProcessHandleGrant }[]) => entries.map(({ grant }) => grant.processId);
  const register = (processes: ProcessRegistry, ...names: string[]) =>
    Promise.all(names.map((id) => processes.registerProcess(task(id))));

  promise("a grant makes a process visible until it is revoked (P-22)", async ({ processes }) => {
    const [record] = await register(processes, "p");
    expect(await processes.hasHandleGrant(one, "p")).toBe(false);
    const grant = await processes.grantHandle(one, "p", { kind: "k", label: "l" });
    expect(grant).toEqual({ sessionId: "one", processId: "p", descriptor: { kind: "k", label: "l" } });
    expect(await processes.hasHandleGrant(one, "p")).toBe(true);
    expect(await processes.listHandleGrants(one)).toEqual([{ grant, record }]);
    expect(await processes.handleGrantsForProcess("p")).toEqual([grant]);
    await processes.revokeHandle(one, "p");
    expect(await processes.hasHandleGrant(one, "p")).toBe(false);
    expect(await processes.listHandleGrants(one)).toEqual([]);
    expect(await processes.handleGrantsForProcess("p")).toEqual([]);
  });

  promise(
    "an unknown process cannot be granted or asked for its grants, and has none (P-20, P-22, P-25)",
    async ({ processes }) => {
      await changesNothing(processes, async () => {
        await refused(processes.grantHandle(one, "nobody", {}), "not-found", "unknown process");
        await refused(processes.handleGrantsForProcess("nobody"), "not-found", "unknown process");
        expect(await processes.hasHandleGrant(one, "nobody")).toBe(false);
      });
      await register(processes, "nobody");
      expect(await processes.hasHandleGrant(one, "nobody")).toBe(false);
    },
  );

  promise("a second grant replaces the descriptor, whole, and is still one grant (P-20)", async ({ processes }) => {
    await register(processes, "p");
    await processes.grantHandle(one, "p", { kind: "k", label: "l" });
    await processes.grantHandle(one, "p", { label: "new" });
    expect((await processes.listHandleGrants(one)).map(({ grant }) => grant.descriptor)).toEqual([{ label: "new" }]);
    await processes.grantHandle(one, "p", {});
    expect((await processes.handleGrantsForProcess("p")).map(({ descriptor }) => descriptor)).toEqual([{}]);
  });

  promise("a revoke is idempotent, of strangers too, and touches no other scope (P-21)", async ({ processes }) => {
    await register(processes, "p", "q");
    for (const scope of [one, frame, two]) await processes.grantHandle(scope, "p", {});
    await processes.grantHandle(one, "q", {});
    await processes.revokeHandle(one, "p");
    await changesNothing(processes, async () => {
      await processes.revokeHandle(one, "p");
      await processes.revokeHandle({ sessionId: "nobody" }, "p");
      await processes.revokeHandle(one, "nobody");
    });
    expect(ids(await processes.listHandleGrants(one))).toEqual(["q"]);
    expect(await processes.hasHandleGrant(frame, "p")).toBe(true);
    expect(await processes.hasHandleGrant(two, "p")).toBe(true);
  });

  promise(
    "a list is of exactly one scope, in the order of ids, with the records as they are now (P-23)",
    async ({ processes, clock }) => {
      await register(processes, "b", "a", "B", "10", "9");
      for (const id of ["b", "10", "a", "9", "B"]) await processes.grantHandle(one, id, { label: id });
      await processes.grantHandle(frame, "a", {});
      await clock.advance(1);
      const changed = await processes.setExternalRef("a", { backend: "x", id: "1" });
      const listed = await processes.listHandleGrants(one);
      expect(ids(listed)).toEqual(["10", "9", "B", "a", "b"]);
      expect(listed[3]).toEqual({ grant: { sessionId: "one", processId: "a", descriptor: { label: "a" } }, record: changed });
      expect(ids(await processes.listHandleGrants(frame))).toEqual(["a"]);
      expect(await processes.listHandleGrants({ sessionId: "one", agentFrameId: "g" })).toEqual([]);
      expect(await processes.listHandleGrants({ sessionId: "on" })).toEqual([]);
    },
  );

  promise("an empty frame id is no frame: scopes are the same when their ids are (A)", async ({ processes }) => {
    await register(processes, "p");
    await processes.grantHandle({ sessionId: "one", agentFrameId: "" }, "p", {});
    expect(await processes.hasHandleGrant(one, "p")).toBe(true);
    expect(await processes.hasHandleGrant(frame, "p")).toBe(false);
  });

  promise("the live list drops what has ended, the other keeps it (P-24)", async ({ processes }) => {
    await register(processes, "a", "b", "c");
    for (const id of ["a", "b", "c"]) await processes.grantHandle(one, id, {});
    await processes.completeProcess("a", success(1));
    await processes.completeProcess("c", cancelled("stop"));
    expect(ids(await processes.listLiveHandleGrants(one))).toEqual(["b"]);
    const all = await processes.listHandleGrants(one);
    expect(all.map(({ record }) => record.status.state)).toEqual(["completed", "running", "cancelled"]);
  });

  promise("the grants of a process come in the order of their sessions, frames included (P-25)", async ({ processes }) => {
    await register(processes, "p", "q");
    for (const scope of [two, root, frame, one]) await processes.grantHandle(scope, "p", { label: scope.sessionId });
    await processes.grantHandle(one, "q", {});
    const grants = await processes.handleGrantsForProcess("p");
    expect(grants).toEqual(
      ["one", "one", "root", "two"].map((sessionId) => ({ sessionId, processId: "p", descriptor: { label: sessionId } })),
    );
    await processes.completeProcess("p", success(1));
    expect((await processes.handleGrantsForProcess("p")).length).toBe(4);
  });

  promise(
    "a transfer moves the named grants with their descriptors and appends no event (P-26)",
    async ({ processes, clock }) => {
      await register(processes, "a", "b", "c");
      for (const id of ["a", "b", "c"]) await processes.grantHandle(one, id, { label: `of ${id}` });
      await processes.grantHandle(two, "b", { label: "overwritten" });
      const before = await processes.getProcess("a");
      await clock.advance(1);
      await processes.transferHandleGrants(one, two, ["b", "a", "b"]);
      expect(ids(await processes.listHandleGrants(one))).toEqual(["c"]);
      expect((await processes.listHandleGrants(two)).map(({ grant }) => grant)).toEqual(
        ["a", "b"].map((processId) => ({ sessionId: "two", processId, descriptor: { label: `of ${processId}` } })),
      );
      expect(await processes.eventsAfter("a", 0)).toEqual([]);
      expect(await processes.getProcess("a")).toEqual(before);
    },
  );

  promise("a transfer goes between a session and its frame, also of ended processes (P-26)", async ({ processes }) => {
    await register(processes, "p");
    await processes.grantHandle(one, "p", { kind: "k" });
    await processes.completeProcess("p", success(1));
    await processes.transferHandleGrants(one, frame, ["p"]);
    expect(await processes.hasHandleGrant(one, "p")).toBe(false);
    expect((await processes.listHandleGrants(frame)).map(({ grant }) => grant.descriptor)).toEqual([{ kind: "k" }]);
  });

  promise("a transfer with one missing grant moves none (P-26)", async ({ processes }) => {
    await register(processes, "a", "b", "c");
    await processes.grantHandle(one, "a", {});
    await processes.grantHandle(one, "c", {});
    await processes.grantHandle(frame, "b", {});
    await changesNothing(processes, async () => {
      for (const list of [["a", "b", "c"], ["b"], ["a", "nobody"]]) {
        await refused(processes.transferHandleGrants(one, two, list), "not-found", "is not granted to session");
      }
      await refused(processes.transferHandleGrants(one, one, ["b"]), "not-found", "is not granted to session");
    });
  });

  promise("a transfer onto the same scope, or of nothing, changes nothing (P-26, P-27)", async ({ processes }) => {
    await register(processes, "p");
    await processes.grantHandle(one, "p", { kind: "k" });
    await changesNothing(processes, async () => {
      await processes.transferHandleGrants(one, one, ["p"]);
      await processes.transferHandleGrants(one, { sessionId: "one", agentFrameId: "" }, ["p"]);
      await processes.transferHandleGrants(one, two, []);
      await processes.transferHandleGrants({ sessionId: "nobody" }, two, []);
    });
  });

  promise("racing transfers move a grant once (P-26)", async ({ processes, open }) => {
    const other = (await open()).processes;
    await register(processes, "p");
    await processes.grantHandle(one, "p", {});
    const settled = await Promise.allSettled(
      count(10).map((n) => (n % 2 ? processes : other).transferHandleGrants(one, n % 3 ? two : frame, ["p"])),
    );
    expect(settled.filter(({ status }) => status === "fulfilled").length).toBe(1);
    expect((await processes.handleGrantsForProcess("p")).length).toBe(1);
  });

  promise(
    "deleting a session takes its grants and those of all its frames, and no others (P-30, P-31)",
    async ({ processes }) => {
      await register(processes, "a", "b");
      for (const scope of [
        one,
        frame,
        { sessionId: "one", agentFrameId: "g" },
        two,
        { sessionId: "one2" },
        { sessionId: "on" },
      ]) {
        for (const id of ["a", "b"]) await processes.grantHandle(scope, id, {});
      }
      const report = await processes.deleteSessionProcessState("one");
      expect(report).toEqual({
        sessionId: "one",
        revokedHandleCount: 6,
        deletedWakeCount: 0,
        cancelProcessIds: [],
        preservedProcessIds: ["a", "b"],
      });
      expect(await processes.listHandleGrants(one)).toEqual([]);
      expect(await processes.listHandleGrants(frame)).toEqual([]);
      expect((await processes.handleGrantsForProcess("a")).map(({ sessionId }) => sessionId)).toEqual(["on", "one2", "two"]);
    },
  );

  promise(
    "its report says what to cancel and what others still see; what has ended is in neither (P-31, P-32)",
    async ({ processes }) => {
      const names = ["c", "a", "B", "kept", "also kept", "done", "done and kept", "never granted"];
      await register(processes, ...names);
      for (const id of names.slice(0, -1)) await processes.grantHandle(one, id, {});
      await processes.grantHandle(frame, "a", {});
      for (const id of ["kept", "also kept", "done and kept"]) await processes.grantHandle(two, id, {});
      await processes.completeProcess("done", success(1));
      await processes.completeProcess("done and kept", cancelled("stop"));
      expect(await processes.deleteSessionProcessState("one")).toEqual({
        sessionId: "one",
        revokedHandleCount: 8,
        deletedWakeCount: 0,
        cancelProcessIds: ["B", "a", "c"],
        preservedProcessIds: ["also kept", "kept"],
      });
    },
  );

  promise("it only reports: processes, events and statuses stay, and a repeat finds nothing (P-33)", async ({ processes }) => {
    const [record] = await register(processes, "p");
    await processes.grantHandle(one, "p", {});
    expect((await processes.deleteSessionProcessState("one")).cancelProcessIds).toEqual(["p"]);
    expect(await processes.getProcess("p")).toEqual(record);
    expect(await processes.eventsAfter("p", 0)).toEqual([]);
    const empty = { revokedHandleCount: 0, deletedWakeCount: 0, cancelProcessIds: [], preservedProcessIds: [] };
    await changesNothing(processes, async () => {
      expect(await processes.deleteSessionProcessState("one")).toEqual({ sessionId: "one", ...empty });
      expect(await processes.deleteSessionProcessState("nobody")).toEqual({ sessionId: "nobody", ...empty });
    });
  });

  promise("a session owns processes without seeing them: its delete goes by grants alone (P-30)", async ({ processes }) => {
    await processes.registerProcess(task("owned", { provenance: { ownerScope: one, hostProfileId: "default" } }));
    expect(await processes.listHandleGrants(one)).toEqual([]);
    expect((await processes.deleteSessionProcessState("one")).cancelProcessIds).toEqual([]);
  });
}
