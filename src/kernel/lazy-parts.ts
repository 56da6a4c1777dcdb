import { lazy } from "./lazy.js";

/** The parts that a kernel does not need to open, and how their code is loaded. */
export const lazyParts = {
  sealed: lazy("logins and secrets", () => import("./vault/sealed.js")),
  archive: lazy("session archives", () => import("./session/archive.js")),
  runtime: lazy("the runtime store", () => import("./runtime-store.js")),
  ops: lazy("operations", () => import("./session/operations.js")),
  inputReads: lazy("the reads of inputs", () => import("./session/inputs/input-reads.js")),
  turns: lazy("turns", () => import("./session/executor.js")),
  attendant: lazy("turns of sessions that wait", () => import("./session/attendance/attendant.js")),
  agents: lazy("agents", () => import("./host/agents.js")),
  views: lazy("views", () => import("./session/view/view-sources.js")),
  sessionView: lazy("session views", () => import("./session/view/session-view.js")),
  definitions: lazy("definitions of processes", () => import("./process/definition/defined-start.js")),
  restarts: lazy("restarts", () => import("./process/restart.js")),
  signals: lazy("signals", () => import("./process/waits/send-signal.js")),
  grants: lazy("grants of handles", () => import("../stores/process/handles.js")),
  leases: lazy("leases", () => import("../stores/process/leases-by-hand.js")),
  schedules: lazy("schedules", () => import("./process/schedules/schedules.js")),
  runs: lazy("the runner", () => import("./process/runs.js")),
};

export type LazyParts = typeof lazyParts;
