import { useCallback, useMemo, useRef, useSyncExternalStore } from "react";
import type {
  AcceptOutcome,
  HostRecord,
  InputSubmission,
  JsonValue,
  Kernel,
  KernelViews,
  ProcessRecord,
  SessionOptions,
  SessionSummary,
  SessionView,
  View,
} from "../../index.js";
import { useProvided } from "./provider.js";
import { sharedSessions, UNOPENED } from "./shared-sessions.js";

const nothing = () => () => {};

/** The value of a view of the kernel, and `first` while there is none. `key` names the view. */
function useKernelView<T>(key: string, first: T, open: (kernel: Kernel) => View<T>): T {
  const { kernel } = useProvided();
  // biome-ignore lint/correctness/useExhaustiveDependencies: `key` stands for `open`, which is another function with each render.
  const view = useMemo(() => kernel && open(kernel), [kernel, key]);
  const getFirst = () => first;
  return useSyncExternalStore(view?.subscribe ?? nothing, view?.get ?? getFirst, getFirst);
}

const NO_SESSIONS: readonly SessionSummary[] = [];
const NO_PROCESSES: readonly ProcessRecord[] = [];
const NO_HOSTS: readonly HostRecord[] = [];

/** The sessions of the database, as `kernel.views.sessions()`. */
export function useSessions(filter?: Parameters<KernelViews["sessions"]>[0]): readonly SessionSummary[] {
  return useKernelView(JSON.stringify(filter ?? null), NO_SESSIONS, ({ views }) => views.sessions(filter));
}

/** The processes that the filter lets pass, as `kernel.views.processes(filter)`. */
export function useProcesses(filter?: Parameters<KernelViews["processes"]>[0]): readonly ProcessRecord[] {
  return useKernelView(JSON.stringify(filter ?? null), NO_PROCESSES, ({ views }) => views.processes(filter));
}

/** The open kernels of the database, as `kernel.views.hosts()`. */
export function useHosts(): readonly HostRecord[] {
  return useKernelView("", NO_HOSTS, ({ views }) => views.hosts());
}

/** A process as a component shows it. */
export interface UsedProcess {
  /** Undefined while it loads, and where there is no such process. */
  readonly record: ProcessRecord | undefined;
  /** What a process gave that ended with success. */
  readonly result?: JsonValue;
  /** The message of a process that failed or was cancelled. */
  readonly error?: string;
  /** Always empty so far. */
  readonly live: readonly JsonValue[];
  /** As a handle's `cancel`. The same function in every render. */
  cancel(reason?: string): Promise<void>;
}

const NO_PARTS: readonly JsonValue[] = [];

/** A process, as `kernel.views.process(processId)`. */
export function useProcess(processId: string): UsedProcess {
  const { opened } = useProvided();
  const record = useKernelView<ProcessRecord | undefined>(processId, undefined, ({ views }) => views.process(processId));
  const cancel = useCallback(
    async (reason?: string) => await (await opened).process(processId).cancel(reason),
    [opened, processId],
  );
  return useMemo(() => {
    const end = record && record.status.state !== "running" ? record.status.awaitOutput : undefined;
    return {
      record,
      ...(end && (end.type === "success" ? { result: end.value } : { error: end.message })),
      live: NO_PARTS,
      cancel,
    };
  }, [record, cancel]);
}

/** A session's view, and what a component does with the session. The functions are the same in every render. */
export interface UsedSession extends SessionView {
  /** As the session's `submit`; waits until the session is open. */
  submit(input: InputSubmission): Promise<AcceptOutcome>;
  /** As the session's `cancel`; waits until the session is open. */
  cancel(inputId: string): Promise<void>;
}

/**
 * A session. All components of a page open it once, the first one with its options, and it is closed when the last of them is gone. If it
 * cannot be opened, `error` says why, and the next call or component tries again.
 */
export function useSession(sessionId: string, options?: SessionOptions): UsedSession {
  const { kernel, opened } = useProvided();
  const first = useRef(options);
  const subscribe = useCallback(
    (listener: () => void) => (kernel ? sharedSessions(kernel).subscribe(sessionId, first.current, listener) : () => {}),
    [kernel, sessionId],
  );
  const get = () => (kernel ? sharedSessions(kernel).get(sessionId) : UNOPENED);
  const view = useSyncExternalStore(subscribe, get, () => UNOPENED);
  const calls = useMemo(
    () => ({
      submit: async (input: InputSubmission) =>
        await sharedSessions(await opened).use(sessionId, first.current, (session) => session.submit(input)),
      cancel: async (inputId: string) =>
        await sharedSessions(await opened).use(sessionId, first.current, (session) => session.cancel(inputId)),
    }),
    [opened, sessionId],
  );
  return useMemo(() => ({ ...view, ...calls }), [view, calls]);
}
