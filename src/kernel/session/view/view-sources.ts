import { followReads } from "../../../corridor/follow.js";
import { openView, type View } from "../../../corridor/view.js";
import { isEqual, keepEqual } from "../../../domain/kept.js";
import { isRuntimeId } from "../../../domain/runtime-id.js";
import type { Timings } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";
import type { Change, Notices } from "../../../ports/notices.js";
import type { ProcessFilter, ProcessMethods } from "../../../stores/process/processes.js";
import type { SessionSummary } from "../../../stores/session/archive.js";
import type { HostRecord } from "../../host/host-list.js";

export interface ViewSourceParts {
  readonly notices: Notices;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly processes: Pick<ProcessMethods, "getProcess" | "list">;
  listSessions(): Promise<SessionSummary[]>;
  listHosts(): Promise<HostRecord[]>;
}

/** Where a view gets its values. `argument` is the one that the view was asked for with, checked. */
interface ViewSource<T, Argument> {
  readonly first: T;
  concerns(change: Change, argument: Argument): boolean;
  read(parts: ViewSourceParts, argument: Argument): Promise<T>;
  /** `next`, with the objects of `last` where nothing changed. */
  keep(last: T, next: T): T;
}

const OF_SESSIONS: ReadonlySet<Change["about"]> = new Set(["runtime", "messages", "input"]);
const OF_RECORDS: ReadonlySet<Change["about"]> = new Set(["registered", "record", "event"]);
const OF_HOSTS: ReadonlySet<Change["about"]> = new Set(["host", "boot", "agent", "lease"]);

const sessionsSource: ViewSource<readonly SessionSummary[], unknown> = {
  first: [],
  concerns: ({ about, id }) => OF_SESSIONS.has(about) || (about === "lease" && isRuntimeId(id)),
  read: (parts) => parts.listSessions(),
  keep: (last, next) => keepEqual(last, next, ({ sessionId }) => sessionId),
};

const processSource: ViewSource<unknown, string> = {
  first: undefined,
  concerns: ({ about, id }, processId) => id === processId && OF_RECORDS.has(about),
  read: ({ processes }, processId) => processes.getProcess(processId),
  keep: (last, next) => (isEqual(last, next) ? last : next),
};

const processesSource: ViewSource<readonly { readonly id: string }[], ProcessFilter> = {
  first: [],
  concerns: ({ about }) => OF_RECORDS.has(about),
  read: ({ processes }, filter) => processes.list(filter),
  keep: (last, next) => keepEqual(last, next, ({ id }) => id),
};

const hostsSource: ViewSource<readonly HostRecord[], unknown> = {
  first: [],
  concerns: ({ about }) => OF_HOSTS.has(about),
  read: (parts) => parts.listHosts(),
  keep: (last, next) => keepEqual(last, next, ({ bootId }) => bootId),
};

export type ViewName = "sessions" | "process" | "processes" | "hosts";

const VIEW_SOURCES = {
  sessions: sessionsSource,
  process: processSource,
  processes: processesSource,
  hosts: hostsSource,
} as Record<ViewName, ViewSource<unknown, unknown>>;

interface ViewSources {
  /** The value that views of this name and argument show now. Undefined where none has subscribers. */
  last(name: ViewName, argument: unknown): unknown;
  /** Shows values from now on. Returns what ends it. */
  follow(name: ViewName, argument: unknown, show: (next: unknown) => void): () => void;
}

/** Views of one name and argument share one source, which reads while any of them has subscribers. */
export function createViewSources(parts: ViewSourceParts): ViewSources {
  const shared = new Map<string, View<unknown>>();
  const idOf = (name: string, argument: unknown) => JSON.stringify([name, argument]);

  function open(id: string, name: ViewName, argument: unknown): View<unknown> {
    const { first, concerns, read, keep } = VIEW_SOURCES[name];
    const view: View<unknown> = openView(first, (show) => {
      const stop = followReads(parts, {
        concerns: (change) => concerns(change, argument),
        read: () => read(parts, argument),
        found: (next) => show(keep(view.get(), next)),
        failed: () => {},
      });
      return () => {
        shared.delete(id);
        stop();
      };
    });
    shared.set(id, view);
    return view;
  }

  return {
    last: (name, argument) => shared.get(idOf(name, argument))?.get(),
    follow(name, argument, show) {
      const id = idOf(name, argument);
      const view = shared.get(id) ?? open(id, name, argument);
      if (view.get() !== VIEW_SOURCES[name].first) show(view.get());
      return view.subscribe(() => show(view.get()));
    },
  };
}
